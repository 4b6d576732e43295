package agent

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// gatewayService is the unit of the machine's gateway.
const gatewayService = "cke-gateway.service"

// gatewayHead begins the gateway's unit file; the cluster's name follows.
const gatewayHead = "# Written by cke-host; do not edit: it is written anew. Gateway to cluster "

// What the service manager is told about the gateway's times.
const (
	gatewayRestart = time.Second
	gatewayStart   = 30 * time.Second
	// gatewayStop is between SIGTERM and SIGKILL: longer than a connection may take to
	// find a quiet moment.
	gatewayStop = 5 * time.Second
)

// gatewayFile is everything that the gateway's unit file is made of.
type gatewayFile struct {
	cluster, program, list, socket string
	maxFiles                       uint64 // the machine's own bound of open files
}

// render is a pure function. The gateway waits for nothing but the network's
// configuration and for nobody: it listens on loopback and starts at boot, with
// CKE down. It may write nowhere but where its socket is, and reads what
// everyone may read.
func (f gatewayFile) render() string { return f.with(f.hash()) }

// hash names what a process was started with.
func (f gatewayFile) hash() string { return sumOfFile([]byte(f.with("")))[:32] }

func (f gatewayFile) with(hash string) string {
	var b strings.Builder
	fmt.Fprintf(&b, gatewayHead+"%s.\n", f.cluster)
	section := func(name string, lines ...string) { fmt.Fprintf(&b, "\n[%s]\n%s\n", name, strings.Join(lines, "\n")) }
	section("Unit",
		"Description=gateway to the etcd cluster "+f.cluster,
		"After=network.target",
		"StartLimitIntervalSec=0",
	)
	section("Service", slices.Concat([]string{
		"Type=notify",
		"NotifyAccess=main",
		"ExecStart=" + commandLine(f.program, []string{"gateway", "--list", f.list, "--state", f.socket}),
		"DynamicUser=yes",
		"RuntimeDirectory=cke-gateway",
		"RuntimeDirectoryMode=0755",
		"TimeoutStartSec=" + seconds(gatewayStart),
		"TimeoutStopSec=" + seconds(gatewayStop),
		"Restart=always",
		"RestartSec=" + seconds(gatewayRestart),
		"StandardOutput=journal",
		"StandardError=journal",
		"LimitNOFILE=" + strconv.FormatUint(min(serviceFiles, f.maxFiles), 10),
		"UMask=0077",
		"Environment=" + quote(unitVar+"="+hash),
	}, hardening(), []string{
		"RemoveIPC=yes",
		"KeyringMode=private",
	})...)
	section("Install", "WantedBy="+bootTarget)
	return b.String()
}

// gatewayOfFile is the cluster that a unit file of CKE's gateway names; false
// for a file that is another's.
func gatewayOfFile(text string) (string, bool) {
	rest, ok := strings.CutPrefix(text, gatewayHead)
	name, _, end := strings.Cut(rest, ".\n")
	return name, ok && end && checkCluster(name) == nil
}
