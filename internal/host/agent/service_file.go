package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"cke/internal/cluster"
)

// What the service manager is told about time.
const (
	// serviceRestart spaces out the restarts of a member that keeps ending.
	serviceRestart = 2 * time.Second
	// serviceStop is between SIGTERM and SIGKILL when the machine goes down. A
	// patient stop lingers while watches are open.
	serviceStop = 10 * time.Second
	// serviceFiles is how many files a member may have open.
	serviceFiles = 65536
)

// unitVar is the variable that tells what a process was started with.
const unitVar = "CKE_UNIT"

// fileHead begins every unit file of CKE's.
const fileHead = "# Written by cke-host; do not edit: it is written anew. Member "

// serviceFile is everything that a unit file is made of.
type serviceFile struct {
	unit   cluster.Unit
	binary string
	paths  paths
	mark   string // the file in the data directory that says whose it is
	// sealed members have their data: they start at boot and after each end, and
	// on nothing else. Others are started once.
	sealed bool
	// maxFiles is the machine's own bound of open files. Going beyond it would
	// need a privilege that a container's init does not have.
	maxFiles uint64
}

// hash names the values that a process is started with.
func (f serviceFile) hash() string {
	b, err := json.Marshal(f.unit)
	if err != nil {
		return "" // a unit has only what JSON can say
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:16])
}

// render is a pure function. What keeps a member from starting without its data
// is in the file itself (systemd.unit(5), AssertPathExists=): it holds at boot,
// with CKE down.
func (f serviceFile) render() string {
	var b strings.Builder
	u := f.unit
	fmt.Fprintf(&b, fileHead+"%s of cluster %s.\n", u.Member, u.Cluster)
	section := func(name string, lines ...string) { fmt.Fprintf(&b, "\n[%s]\n%s\n", name, strings.Join(lines, "\n")) }
	section("Unit", f.unitSection()...)
	section("Service", slices.Concat(f.serviceSection(), f.environment(), hardening(), []string{
		"ReadWritePaths=" + quote(f.paths.data),
	})...)
	if f.sealed {
		section("Install", "WantedBy="+bootTarget)
	}
	return b.String()
}

func (f serviceFile) unitSection() []string {
	lines := []string{
		fmt.Sprintf("Description=etcd member %s of cluster %s", f.unit.Node, f.unit.Cluster),
		// A target waits for what it wants. A member without quorum is never ready,
		// and the machine's boot must not wait for it: hence none of the usual
		// dependencies, and those of them that matter by hand.
		"DefaultDependencies=no",
		"Requires=sysinit.target",
		"Wants=network-online.target",
		"After=sysinit.target basic.target network-online.target",
		"Conflicts=shutdown.target",
		"Before=shutdown.target",
		"RequiresMountsFor=" + quote(f.paths.data),
		"StartLimitIntervalSec=0",
	}
	if f.sealed {
		lines = append(lines,
			"AssertPathExists="+specifiers(filepath.Join(f.paths.data, "member", "wal")),
			"AssertPathExists="+specifiers(f.mark))
	}
	return lines
}

func (f serviceFile) serviceSection() []string {
	restart := []string{"Restart=no"}
	if f.sealed {
		restart = []string{"Restart=always", "RestartSec=" + seconds(serviceRestart)}
	}
	return slices.Concat([]string{
		"Type=notify",
		"NotifyAccess=main",
		"ExecStart=" + commandLine(f.binary, argv(f.unit, f.paths)),
		"User=" + serviceUser,
		"Group=" + serviceUser,
		// A member without quorum never says that it is ready.
		"TimeoutStartSec=infinity",
		"TimeoutStopSec=" + seconds(serviceStop),
	}, restart, []string{
		"StandardOutput=journal",
		"StandardError=journal",
		"LimitNOFILE=" + strconv.FormatUint(min(serviceFiles, f.maxFiles), 10),
		"UMask=0077",
	})
}

// environment passes on what the unit says, and keeps out what the service
// manager's own environment says of flags that are CKE's to set.
func (f serviceFile) environment() []string {
	var lines []string
	for _, v := range append(env(f.unit), unitVar+"="+f.hash()) {
		lines = append(lines, "Environment="+quote(v))
	}
	var unset []string
	for _, name := range cluster.OwnedFlags() {
		unset = append(unset, "ETCD_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_")))
	}
	slices.Sort(unset)
	for part := range slices.Chunk(slices.Compact(unset), 4) {
		lines = append(lines, "UnsetEnvironment="+strings.Join(part, " "))
	}
	return lines
}

// hardening leaves etcd its data directory, its sockets and its certificates.
func hardening() []string {
	return []string{
		"NoNewPrivileges=yes",
		"CapabilityBoundingSet=",
		"AmbientCapabilities=",
		"ProtectSystem=strict",
		"ProtectHome=yes",
		"PrivateTmp=yes",
		"PrivateDevices=yes",
		"DevicePolicy=closed",
		"ProtectClock=yes",
		"ProtectControlGroups=yes",
		"ProtectHostname=yes",
		"ProtectKernelLogs=yes",
		"ProtectKernelModules=yes",
		"ProtectKernelTunables=yes",
		"ProtectProc=invisible",
		"RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
		"RestrictNamespaces=yes",
		"RestrictRealtime=yes",
		"RestrictSUIDSGID=yes",
		"LockPersonality=yes",
		"MemoryDenyWriteExecute=yes",
		"SystemCallArchitectures=native",
		"SystemCallFilter=@system-service",
		"SystemCallFilter=~@privileged @resources",
		// A call that is not allowed fails; it does not end the member.
		"SystemCallErrorNumber=EPERM",
	}
}

// commandLine has one argument per line, for who reads the file.
func commandLine(binary string, args []string) string {
	words := make([]string, 0, len(args)+1)
	words = append(words, quote(binary))
	for _, a := range args {
		words = append(words, strings.ReplaceAll(quote(a), "$", "$$"))
	}
	return strings.Join(words, " \\\n    ")
}

// quote makes one word of a value, as systemd.syntax(7) reads it.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "%", "%%").Replace(s) + `"`
}

// specifiers is for settings that take the rest of their line as one value.
func specifiers(s string) string { return strings.ReplaceAll(s, "%", "%%") }

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', -1, 64) }

// memberOfFile is the member that a unit file of CKE's names; false for
// a file that is another's.
func memberOfFile(text string) (cluster.MemberID, bool) {
	rest, ok := strings.CutPrefix(text, fileHead)
	id, _, _ := strings.Cut(rest, " ")
	m, err := cluster.ParseMemberID(id)
	return m, ok && err == nil
}
