package plan

import (
	"strings"
	"testing"
	"time"

	"cke/internal/cluster"
)

// A member that is about to be taken out stays when the spec of the moment wants it.
func TestWhoIsWantedAgainStays(t *testing.T) {
	t.Parallel()
	const cluster4 = `
node cp1 10.0.0.1
node cp2 10.0.0.2
node cp3 10.0.0.3
phase bootstrapped
`
	silent := func(s *Step) { s.Serving, s.NotServing, s.StopFirst = false, true, false }
	for name, c := range map[string]struct {
		world string
		step  func(*Step)
		stays bool
		began string // what was wanted when the step began; nothing: the same
	}{
		"not wanted":          {cluster4 + "node old 10.0.0.9 leaving\nhealthy cp1 cp2 cp3 old", nil, false, ""},
		"wanted again":        {cluster4 + "node old 10.0.0.9\nhealthy cp1 cp2 cp3 old", nil, true, ""},
		"wanted and stopped":  {cluster4 + "node old 10.0.0.9\nhealthy cp1 cp2 cp3 old\nmember old = down 3s", nil, true, ""},
		"no seat for it":      {cluster4 + "node old 10.0.0.9\nmembers 3\nhealthy cp1 cp2 cp3 old", nil, false, ""},
		"no member any more":  {cluster4 + "node old 10.0.0.9\nhealthy cp1 cp2 cp3 old\ngone old", nil, false, ""},
		"only a worker":       {cluster4 + "node old 10.0.0.9 worker\nhealthy cp1 cp2 cp3 old", nil, false, ""},
		"its data is lost":    {cluster4 + "node old 10.0.0.9\nhealthy cp1 cp2 cp3 old", func(s *Step) { s.DataLost = true }, false, ""},
		"its data is another": {cluster4 + "node old 10.0.0.9\nhealthy cp1 cp2 cp3 old", func(s *Step) { s.Corrupt = true }, false, ""},
		"it is dead":          {cluster4 + "node old 10.0.0.9\nhealthy cp1 cp2 cp3 old\nmember old = down 10m", silent, false, ""},
		"silent, wanted again": {
			cluster4 + "node old 10.0.0.9\nhealthy cp1 cp2 cp3 old\nmember old = down 20s", silent, true,
			cluster4 + "node old 10.0.0.9 leaving\nhealthy cp1 cp2 cp3 old",
		},
		"silent, and its seat is back": {
			cluster4 + "node old 10.0.0.9\nhealthy cp1 cp2 cp3 old\nmember old = down 20s", silent, true,
			cluster4 + "node old 10.0.0.9\nmembers 3\nhealthy cp1 cp2 cp3 old",
		},
		"silent and unwanted": {cluster4 + "node old 10.0.0.9 leaving\nhealthy cp1 cp2 cp3 old\nmember old = down 20s", silent, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := parseWorld(t, c.world)
			s := Step{Kind: RemoveMember, Nodes: []cluster.NodeName{"old"}, Member: idOf(w.find("old")), Serving: true, StopFirst: true}
			if c.step != nil {
				c.step(&s)
			}
			began := w.spec
			if c.began != "" {
				began = parseWorld(t, c.began).spec
			}
			err := StillUnwanted(s, began, w.spec, w.st.Etcd, w.now.Add(time.Second))
			if (err != nil) != c.stays || err != nil && !strings.Contains(err.Error(), "on old is wanted again") {
				t.Errorf("%v; it stays: %v", err, c.stays)
			}
		})
	}
}
