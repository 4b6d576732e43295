package observe

import (
	"fmt"
	"maps"
	"time"

	"cke/internal/cluster"
	"cke/internal/host"
	"cke/internal/pki"
	"cke/internal/plan"
)

// apiServer says what is wrong with the API server's client files on a node that
// asks for them.
func (o *Observer) apiServer(spec cluster.Spec, n cluster.Node, f host.Facts) pki.Findings {
	if !n.APIServer {
		return nil
	}
	var have host.ClientFacts
	if f.Client != nil {
		have = *f.Client
	}
	found := pki.CheckAPIServer(have.CA, have.Cert, have.KeyFits, o.o.Authority, o.o.Now())
	if f.Client == nil {
		return found
	}
	if want := spec.Kubernetes.APIServer; have.Files != want {
		found = append(found, pki.Finding{Text: fmt.Sprintf("it lies in %s, and is to be in %s", place(have.Files), place(want))})
	}
	for _, d := range have.Drift {
		found = append(found, pki.Finding{Text: d})
	}
	return found
}

func place(f cluster.ClientFiles) string {
	return fmt.Sprintf("%s (%s:%s, %s)", f.Directory, f.Owner, f.Group, f.Mode)
}

// published is what Kubernetes was told. Whoever tells it begins with the first
// look, and a former cke may have told it of anybody.
func (o *Observer) published(spec cluster.Spec) cluster.Published {
	if o.o.Published == nil {
		return cluster.Published{}
	}
	p := o.o.Published()
	if spec.Kubernetes.Kubeconfig != "" && !p.Wanted {
		p = cluster.Published{Wanted: true, Unknown: true}
	}
	return p
}

// withdrawnSince is since when each member that is about to go has been so. For one
// that was to be stopped first, and cannot be any more, that begins anew: only now its
// connections are to end before it goes.
func (o *Observer) withdrawnSince(spec cluster.Spec, st cluster.State) map[cluster.MemberID]time.Time {
	now := o.o.Now()
	going, stops := map[cluster.MemberID]time.Time{}, map[cluster.MemberID]bool{}
	o.mu.Lock()
	defer o.mu.Unlock()
	st.WithdrawnSince = maps.Clone(o.withdrawn) // who was about to go a look ago
	for _, e := range plan.Endpoints(spec, st, now) {
		if e.Terminating {
			if o.stops[e.Member] && !e.Restarting {
				delete(o.withdrawn, e.Member)
			}
			stops[e.Member] = e.Restarting
			going[e.Member] = since(o.withdrawn, e.Member, true, now)
		}
	}
	o.withdrawn, o.stops = maps.Clone(going), stops
	return going
}
