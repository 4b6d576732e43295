package plan

// stopFirst is the first half of a removal. The rest of the step is about a member that
// does not serve, and that nobody wants still.
func (h *hand) stopFirst(step *Step) error {
	if err := h.stopUnit(h.s.hosts[step.Nodes[0]]); err != nil {
		return err
	}
	if h.stopped != nil {
		h.stopped()
	}
	begun := *step
	step.Serving, step.StopFirst = false, false
	if err := Guard(*step, h.s.observeEtcd(nil)); err != nil {
		return err
	}
	if err := StillUnwanted(begun, h.s.store.spec, h.s.store.spec, h.s.observeEtcd(nil), h.s.now); err != nil {
		return err
	}
	if why := h.s.needless(*step); why != "" {
		h.s.t.Fatalf("%s, though %s", step.Key(), why)
	}
	return nil
}
