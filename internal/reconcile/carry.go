package reconcile

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cke/internal/cluster"
	"cke/internal/execute"
	"cke/internal/plan"
	"cke/internal/record"
)

// carryOut runs a step between its two records. A failed step is not an error
// of the loop: it is held back and shown.
func (l *Loop) carryOut(ctx context.Context, w Wanted, s plan.Step, finished func(cluster.NodeName)) error {
	if s.Looks() {
		return l.carryOutLook(ctx, w, s, finished)
	}
	begin := l.o.Now()
	rec := record.Record{At: begin, Cluster: l.o.Cluster, By: "rule", Epoch: l.o.Epoch, Step: &s, Outcome: record.Started}
	again, failedBefore := l.failures.record(s)
	if !failedBefore {
		var err error
		if rec, err = l.o.Store.Append(ctx, rec); err != nil {
			return fmt.Errorf("record %s: %w", s.Kind, err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, execute.Timeout(s.Kind))
	defer cancel()
	stepErr := l.o.Executor.Run(ctx, w.Wanted, s, finished)
	took := l.o.Now().Sub(begin)
	log := l.o.Log.With("step", s.Kind, "nodes", s.Nodes, "took_ms", took.Milliseconds())
	if stepErr == nil {
		log.Info("step done", "reason", s.Reason)
	} else {
		log.Warn("step failed", "reason", s.Reason, "err", stepErr)
	}
	if failedBefore {
		rec = again
	}
	return l.conclude(ctx, s, rec, failedBefore, stepErr, took)
}

// carryOutLook runs a step that changes nothing; the history is of changes.
func (l *Loop) carryOutLook(ctx context.Context, w Wanted, s plan.Step, finished func(cluster.NodeName)) error {
	ctx, cancel := context.WithTimeout(ctx, execute.Timeout(s.Kind))
	defer cancel()
	begin := l.o.Now()
	err := l.o.Executor.Run(ctx, w.Wanted, s, finished)
	if err != nil {
		l.failures.fail(s, err, record.Record{}, l.o.Now())
	} else {
		l.failures.succeed(s, record.Record{}, l.o.Now())
	}
	l.o.Log.Info("looked", "step", s.Kind, "nodes", s.Nodes, "took_ms", l.o.Now().Sub(begin).Milliseconds(), "err", err)
	return nil
}

// conclude writes a step's outcome. Repeated failures with the same error are
// folded into one record, so that history is not flooded.
func (l *Loop) conclude(ctx context.Context, s plan.Step, rec record.Record, failedBefore bool, stepErr error, took time.Duration) error {
	// The outcome is written even when the step used up its time.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	out := rec
	out.Step, out.TookMS = &s, took.Milliseconds()
	out.Outcome, out.Error = record.Done, ""
	if stepErr != nil {
		out.Outcome, out.Error = record.Failed, stepErr.Error()
	}
	var err error
	switch {
	case !failedBefore:
		err = l.o.Store.Amend(ctx, out)
	case out.Outcome == rec.Outcome && out.Error == rec.Error:
		out.Repeats++
		err = l.o.Store.Amend(ctx, out)
	default:
		out.At, out.Repeats = l.o.Now(), 0
		out, err = l.o.Store.Append(ctx, out)
	}
	if stepErr != nil {
		l.failures.fail(s, stepErr, out, l.o.Now())
	} else {
		l.failures.succeed(s, out, l.o.Now())
	}
	if err != nil {
		return errors.Join(stepErr, fmt.Errorf("record the outcome of %s: %w", s.Kind, err))
	}
	return nil
}
