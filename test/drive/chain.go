package drive

import (
	"slices"
	"strings"

	"cke/internal/execute"
	"cke/internal/plan"
)

// KillAfterAnother has a daemon killed right after its first effect that none before
// it was killed after.
func KillAfterAnother(killed []string) string { return "CKE_EFFECT_KILL=" + Another(killed) }

// KilledAfter are the effects of a trace after which such a daemon was killed: the first
// that is none of these, and others that were under way then.
func KilledAfter(trace, killed []string) []string {
	var last []string
	for _, e := range trace {
		if !slices.Contains(killed, e) && !slices.Contains(last, e) {
			last = append(last, e)
		}
	}
	return last
}

// Another is the first effect that is none of these.
func Another(known []string) string { return "!" + strings.Join(known, ",") }

// OnMachines are the kinds of steps, with their effects, that are taken only on a
// host that is reached over SSH: it gets its etcd from CKE, a gateway, an API
// server's certificate, and is rebooted. The lab's walks kill daemons in the midst of
// them; what a transfer that is killed leaves there is the host's own test.
func OnMachines() map[plan.Kind][]execute.Effect {
	return map[plan.Kind][]execute.Effect{
		plan.InstallEtcd:               {execute.HostPutRelease},
		plan.InstallClientCertificates: {execute.HostPutClientFiles},
		plan.PutGateway:                {execute.HostPutGateway},
		plan.RemoveGateway:             {execute.HostRemoveGateway},
		plan.DrainNode:                 {execute.StorePutDrain},
		plan.UndrainNode:               {execute.StorePutDrain},
		plan.RebootMachine:             {execute.StoreAdvanceReboot, execute.HostReboot},
		plan.FinishReboot:              {execute.StoreAdvanceReboot},
	}
}
