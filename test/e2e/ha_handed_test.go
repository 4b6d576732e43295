package e2e

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/test/drive"
)

// handed is an operation that one daemon begins and another ends.
type handed struct {
	name    string
	prepare func()           // with a leader that nobody ends
	begin   func(i int)      // asks a daemon for it; what that answers does not matter
	over    func(*env) error // asked of the leader
	at      []string         // after which effects alone a leader is ended; nil: after each
}

// operations are what daemons hand to each other, by the clusters that they need. Each
// list ends as it begins.
func (k *killings) operations() map[string][]handed {
	return map[string][]handed{
		"members":  {k.adding(), k.removing()},
		"rolling":  {k.rolling()},
		"versions": {k.takingBack()},
		"defrag":   {k.adding(), k.defragInVain()},
	}
}

// overOnce has an operation be over once a later spec is settled than was before it,
// with nobody pausing.
func (k *killings) overOnce(op *handed) {
	k.t.Helper()
	before := k.revision
	op.over = func(e *env) error {
		ctx, cancel := context.WithTimeout(k.t.Context(), 5*time.Second) // it may stand still
		defer cancel()
		s, err := e.Client().Status(ctx, "main")
		if err == nil {
			k.revision = s.SpecRevision
		}
		if err == nil && (!s.Settled || s.Paused != nil || s.SpecRevision <= before) {
			err = fmt.Errorf("revision %d, was %d, plan:\n%s", s.SpecRevision, before, s.Plan)
		}
		return err
	}
}

func (k *killings) adding() handed {
	return handed{
		name: "add", prepare: func() {}, begin: func(i int) { k.begin(i, 1, 2, 3, 4) },
	}
}

// removing takes the leader out.
func (k *killings) removing() handed {
	return handed{
		name: "remove", begin: func(i int) { k.begin(i, 1, 2, 3) },
		prepare: func() {
			root := k.acting().RootCert()
			l := &living{mortal: &mortal{env: k.env}, cert: root, root: k.connect(root, 1, 2, 3, 4)}
			l.ids = map[string]cluster.MemberID{"cp4": k.acting().MemberID("cp4")}
			l.lead(4)
		},
	}
}

func (k *killings) rolling() handed {
	size := 2000000
	return handed{
		name: "roll", prepare: func() { size++ },
		begin: func(i int) {
			k.beginWith(i, k.withSettings(fmt.Sprintf(`extra_args: {max-request-bytes: "%d"}`, size), 1, 2, 3))
		},
	}
}

// takingBack goes back on the way down to the older etcd.
func (k *killings) takingBack() handed {
	return handed{
		name: "take a way down back",
		prepare: func() {
			e := k.acting()
			e.CLI("cluster", "set", e.Write("down.yml", k.ofVersion(drive.OlderVersion)))
			e.Until("etcd prepares to go down", func(s api.Status) error {
				for _, n := range s.Nodes {
					if n.Member != nil && n.Member.Version == drive.OlderVersion {
						return nil
					}
				}
				return errors.New("no member is of the older version")
			})
			e.CLI("pause") // whoever leads next does not go on with the way down
			e.CLI("cluster", "set", e.Write("up.yml", k.ofVersion(cluster.DefaultVersion)))
		},
		begin: func(i int) { k.beginAsking(i, "resume") },
		at:    []string{"cancel-downgrade etcd.cancel-downgrade"},
	}
}

// defragInVain asks for a member that goes before its turn comes.
func (k *killings) defragInVain() handed {
	return handed{
		name: "defrag in vain",
		prepare: func() {
			e := k.acting()
			e.CLI("pause")
			e.CLI("etcd", "defrag", "cp4")
			e.CLI("cluster", "set", e.Write("cluster.yml", k.clusterYAML(1, 2, 3)))
		},
		begin: func(i int) { k.beginAsking(i, "resume") },
		at:    []string{"forget-defrag store.forget-defrag"},
	}
}
