package hosts

import (
	"testing"

	"cke/internal/plan"
)

// TestForeignEtcd: machines that run another etcd, or hold another's data, or
// whose ports someone has, are not touched.
func TestForeignEtcd(t *testing.T) {
	e := newEnv(t, 3)
	e.Start()
	e.sh(1, `printf '[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n' >/etc/systemd/system/etcd.service && systemctl daemon-reload && systemctl enable -q --now etcd.service`)
	e.sh(2, "mkdir -p /var/lib/etcd/member/wal && touch /var/lib/etcd/member/wal/0000000000000000-0000000000000000.wal")
	e.sh(3, `printf '[Socket]\nListenStream=10.77.0.13:2380\nAccept=yes\n' >/etc/systemd/system/other.socket && printf '[Service]\nExecStart=/bin/cat\n' >/etc/systemd/system/other@.service && systemctl daemon-reload && systemctl start other.socket`)
	e.CLI("cluster", "set", e.Write("cluster.yml", e.yaml(1, 2, 3)))
	e.Says("h1", e.Reason("hostRunsAnotherEtcd", "h1").Text, "etcd.service")
	e.Says("h2", e.Reason("hostRunsAnotherEtcd", "h2").Text, "/var/lib/etcd")
	e.Says("h3", e.Reason("portsMustBeFree", "h3").Text, "2380")
	if n := e.CountSteps(plan.RecordBootstrap) + e.CountSteps(plan.InstallUnits); n != 0 {
		t.Errorf("%d steps although every machine has another's", n)
	}
	e.sh(1, "systemctl disable -q --now etcd.service && rm /etc/systemd/system/etcd.service && systemctl daemon-reload")
	e.sh(2, "rm -r /var/lib/etcd")
	e.sh(3, "systemctl stop other.socket")
	e.Settled()
	e.OnlyMembersAre(e.names(1, 2, 3)...)
}
