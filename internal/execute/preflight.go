package execute

import "context"

// checkHosts measures hosts. It changes nothing; what it finds is part of the
// next observation, and whether it is enough is the plan's to say.
type checkHosts struct{ target }

// Done is never so: it is asked for only when too little is known.
func (a checkHosts) Done(context.Context) (bool, error) { return false, nil }

func (a checkHosts) Do(ctx context.Context) error {
	a.x.o.Observer.Measure(ctx, a.w, a.step.Nodes)
	return ctx.Err()
}
