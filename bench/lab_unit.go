package main

import (
	"slices"
	"strconv"
	"strings"
)

// unitByHand is a unit file that does for etcd what CKE's does when a member is
// started first, with the same restrictions.
// maxFiles is the machine's own bound: a container cannot go beyond it.
func unitByHand(etcd string, flags []string, maxFiles int) string {
	quoted := []string{`"` + etcd + `"`}
	for _, f := range flags {
		quoted = append(quoted, `"`+f+`"`)
	}
	return `[Unit]
Description=etcd
DefaultDependencies=no
Requires=sysinit.target
Wants=network-online.target
After=sysinit.target basic.target network-online.target
Conflicts=shutdown.target
Before=shutdown.target
RequiresMountsFor=` + floorData + `
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
ExecStart=` + strings.Join(quoted, " ") + `
User=etcd
Group=etcd
TimeoutStartSec=infinity
TimeoutStopSec=10
Restart=always
RestartSec=2
StandardOutput=journal
StandardError=journal
LimitNOFILE=` + strconv.Itoa(maxFiles) + `
UMask=0077
` + strings.Join(hardeningByHand(), "\n") + `
ReadWritePaths=` + floorData + `

[Install]
WantedBy=multi-user.target
`
}

// hardeningByHand is that of CKE's unit; differing says where it is not.
func hardeningByHand() []string {
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
		"SystemCallErrorNumber=EPERM",
	}
}

// differing are the lines of the service section that one of two unit files
// has and the other has not, but for those that must differ.
func differing(cke, hand string) []string {
	own := []string{"ExecStart=", "Environment=", "UnsetEnvironment=", "ReadWritePaths=", "Restart=", "RestartSec="}
	read := func(unit string) map[string]bool {
		m := map[string]bool{}
		_, service, _ := strings.Cut(unit, "[Service]\n")
		service, _, _ = strings.Cut(service, "\n[")
		service = strings.ReplaceAll(service, "\\\n", "")
	lines:
		for _, line := range strings.Split(strings.TrimSpace(service), "\n") {
			for _, o := range own {
				if strings.HasPrefix(line, o) {
					continue lines
				}
			}
			m[line] = true
		}
		return m
	}
	a, b := read(cke), read(hand)
	var out []string
	for line := range a {
		if !b[line] {
			out = append(out, "cke has "+line)
		}
	}
	for line := range b {
		if !a[line] {
			out = append(out, "floor has "+line)
		}
	}
	slices.Sort(out)
	return out
}
