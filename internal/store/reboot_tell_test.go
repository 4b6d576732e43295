package store

import (
	"testing"
	"time"

	"cke/internal/cluster"
)

// A machine is told to reboot only while all that was known of maintenance when that was
// decided still holds.
func TestAMachineIsToldOnlyWhileTheDrainsAreTheSame(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	own := cluster.Drain{Node: "cp1", By: "ada", At: at, Reboot: true}
	other := cluster.Drain{Node: "cp2", By: "bob", At: at}
	persons := own
	persons.By, persons.Reboot = "bob", false
	for name, c := range map[string]struct {
		now  []cluster.Drain
		less bool // the own one is gone
		want bool
	}{
		"as decided":                      {nil, false, true},
		"another node was drained":        {[]cluster.Drain{other}, false, false},
		"a person is at work on this one": {[]cluster.Drain{persons}, false, false},
		"it was undrained":                {nil, true, false},
		"another one is drained instead":  {[]cluster.Drain{other}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, testOptions(t))
			ctx := t.Context()
			must := func(err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
			}
			put(t, s, spec("main", 1))
			r := cluster.Reboot{Nodes: []cluster.NodeName{"cp1"}, By: "ada", At: at}
			told := r
			told.Boot, told.Told = "b1", at
			must(s.PutReboot(ctx, "main", r))
			must(s.PutDrain(ctx, "main", own))
			for _, d := range c.now {
				must(s.PutDrain(ctx, "main", d))
			}
			if c.less {
				must(s.DropDrain(ctx, "main", own))
			}
			still, err := s.TellReboot(ctx, "main", r, told, []cluster.Drain{own})
			must(err)
			snap, err := s.Load(ctx, "main")
			must(err)
			want := &r
			if c.want {
				want = &told
			}
			equal(t, "whether it was still so", still, c.want)
			equal(t, "reboot", snap.Reboot, want)
			if !c.want {
				return
			}
			still, err = s.TellReboot(ctx, "main", r, told, []cluster.Drain{own}) // it is another by now
			must(err)
			equal(t, "whether it was still so", still, false)
		})
	}
}
