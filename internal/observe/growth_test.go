package observe

import (
	"testing"
	"time"

	"cke/internal/cluster"
	"cke/internal/host"
)

func TestGrowth(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	says := func(id cluster.MemberID, bytes int64) host.Facts {
		return host.Facts{
			Unit: &cluster.UnitState{Unit: cluster.Unit{Member: id}},
			Data: []cluster.DataDir{{Member: 7, Bytes: 1 << 30}, {Member: id, Bytes: bytes}},
		}
	}
	var g growth
	for i, c := range []struct {
		f    host.Facts
		grew time.Time
	}{
		{host.Facts{}, time.Time{}},
		{says(1, 0), time.Time{}},
		{says(1, 64), at(2)},
		{says(1, 64), at(2)},
		{says(1, 10), at(2)}, // it has begun again
		{says(1, 60), at(2)},
		{says(1, 65), at(6)},
		{says(2, 100), time.Time{}}, // what is there at first has not grown
		{says(2, 101), at(8)},
		{host.Facts{}, time.Time{}},
	} {
		if g.note(c.f, at(i)); !g.at.Equal(c.grew) {
			t.Errorf("%d: it grew at %s, want %s", i, g.at, c.grew)
		}
	}
}
