package agent

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"

	"cke/internal/host"
)

// However often a transfer is cut, and whatever happens to what had come, it
// goes on and ends with the right binary, or begins again.
func TestTransferGoesOnWhereItEnded(t *testing.T) {
	t.Parallel()
	b := newBox(t)
	ways := []host.Host{inProcess(t, b), inChild(t, b)}
	cut := errors.New("cut")
	var resumed, spoiled int
	rapid.Check(t, func(t *rapid.T) {
		must(b.tb(t), os.RemoveAll(b.releases)) // another world each time
		must(b.tb(t), os.Mkdir(b.releases, 0o755))
		c := newCargo(b.tb(t), otherVersion, rapid.SampledFrom([]int{2, 5000, 300 << 10}).Draw(t, "size"))
		for range rapid.IntRange(0, 4).Draw(t, "cuts") {
			h := rapid.SampledFrom(ways).Draw(t, "way")
			s, err := h.ReleaseOffset(t.Context(), c.Release)
			if err != nil || s.Installed {
				t.Fatalf("%+v %v", s, err)
			}
			if s.Offset > 0 {
				resumed++
			}
			from := s.Offset // sending again what is there does no harm
			if rapid.Bool().Draw(t, "overlap") {
				from = rapid.Int64Range(0, s.Offset).Draw(t, "from")
			}
			n := rapid.Int64Range(0, c.PackedSize-from).Draw(t, "bytes")
			if n == c.PackedSize-from {
				continue
			}
			body := io.MultiReader(bytes.NewReader(c.packed[from:from+n]), iotest.ErrReader(cut))
			if err := h.PutRelease(t.Context(), c.Release, from, body); err == nil {
				t.Fatalf("a transfer that was cut after %d bytes succeeds", n)
			}
		}
		b.transfersRest(t, ways)
		partial := filepath.Join(b.releases, ".incoming", c.PackedSHA256)
		h, broken := ways[0], false
		if held, _ := os.ReadFile(partial); len(held) > 0 && rapid.Bool().Draw(t, "spoil") {
			held[rapid.IntRange(0, len(held)-1).Draw(t, "at")] ^= 1
			must(b.tb(t), os.WriteFile(partial, held, 0o600))
			broken, spoiled = true, spoiled+1
		}
		if err := send(t.Context(), h, c); broken == (err == nil) {
			t.Fatalf("spoiled: %v, and the transfer ends with %v", broken, err)
		}
		must(b.tb(t), send(t.Context(), h, c))
		b.binaryIs(b.tb(t), c)
	})
	if resumed == 0 || spoiled == 0 {
		t.Errorf("%d transfers went on, %d partial files were spoiled; too tame", resumed, spoiled)
	}
}

// transfersRest returns when nobody writes what comes any more: whoever cut a
// transfer is told before the other end has put the last of it away.
func (b *box) transfersRest(t *rapid.T, ways []host.Host) {
	for _, h := range ways { // what was asked before is under way when this is answered
		_, err := h.Facts(t.Context(), testCluster, b.addr)
		must(b.tb(t), err)
	}
	incoming := filepath.Join(b.releases, ".incoming")
	if _, err := os.Stat(incoming); err != nil {
		return // nothing was ever sent; the directory is not this test's to make
	}
	unlock, err := lock(t.Context(), filepath.Join(incoming, "lock"))
	must(b.tb(t), err)
	unlock()
}

// tb makes one of rapid's a testing.TB, for the helpers.
func (b *box) tb(t *rapid.T) testing.TB { return rapidTB{t: t} }

type rapidTB struct {
	testing.TB
	t *rapid.T
}

func (r rapidTB) Helper() { r.t.Helper() }

func (r rapidTB) Fatal(args ...any) { r.t.Fatal(args...) }

func (r rapidTB) Fatalf(format string, a ...any) { r.t.Fatalf(format, a...) }

// A disk that fills up meanwhile: what has come stays, and with room made the
// transfer goes on.
func TestDiskFillsUpMeanwhile(t *testing.T) {
	for name, limit := range map[string]int64{"while it comes": 100 << 10, "while it is unpacked": 2 << 20} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b, c := newBox(t), newCargo(t, otherVersion, 1<<20)
			c = cargoOf(t, append(c.binary, bytes.Repeat([]byte("#\n"), 1<<20)...))
			out := crash(t, b, crashJob{Release: &c.Release, Packed: c.packed, Limit: limit}, "")
			if !strings.Contains(out, "has no room for etcd") || !strings.Contains(out, "no-space") {
				t.Fatalf("it says %s", out)
			}
			h := inProcess(t, b)
			if s, err := h.ReleaseOffset(t.Context(), c.Release); err != nil || s.Offset != min(limit, c.PackedSize) {
				t.Fatalf("%+v %v", s, err)
			}
			must(t, send(t.Context(), h, c))
			b.binaryIs(t, c)
		})
	}
}

// gate is a body that waits in the middle.
type gate struct {
	first, second io.Reader
	reached, open chan struct{}
	once          sync.Once
}

func (g *gate) Read(b []byte) (int, error) {
	if n, err := g.first.Read(b); n > 0 || !errors.Is(err, io.EOF) {
		return n, err
	}
	g.once.Do(func() { close(g.reached) })
	<-g.open
	return g.second.Read(b)
}

func halfOf(c cargo) *gate {
	half := len(c.packed) / 2
	return &gate{
		first: bytes.NewReader(c.packed[:half]), second: bytes.NewReader(c.packed[half:]),
		reached: make(chan struct{}), open: make(chan struct{}),
	}
}

func TestTransfersWaitForEachOther(t *testing.T) {
	everyWay(t, func(t *testing.T, b *box, open opener) {
		h, ctx, c := open(t, b), t.Context(), newCargo(t, otherVersion, 1<<20)
		body := halfOf(c)
		first := make(chan error, 1)
		go func() { first <- h.PutRelease(ctx, c.Release, 0, body) }()
		<-body.reached
		eventually(t, "half of it has come", func() bool {
			s, err := h.ReleaseOffset(ctx, c.Release)
			return err == nil && s.Offset > 0
		})
		impatient, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		if err := inProcess(t, b).PutRelease(impatient, c.Release, 0, bytes.NewReader(c.packed)); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("a second transfer meanwhile: %v", err)
		}
		facts(t, h, b) // other requests are answered meanwhile
		second := make(chan error, 1)
		go func() { second <- inProcess(t, b).PutRelease(ctx, c.Release, 0, bytes.NewReader(c.packed)) }()
		close(body.open)
		must(t, <-first)
		must(t, <-second)
		b.binaryIs(t, c)
	})
}

// A newer leader ends a transfer under way, another store begins none.
func TestTransfersAreFenced(t *testing.T) {
	everyWay(t, func(t *testing.T, b *box, open opener) {
		h, ctx, c := open(t, b), t.Context(), newCargo(t, otherVersion, 1<<20)
		body := halfOf(c)
		first := make(chan error, 1)
		go func() { first <- h.PutRelease(ctx, c.Release, 0, body) }()
		<-body.reached
		eventually(t, "half of it has come", func() bool {
			s, err := h.ReleaseOffset(ctx, c.Release)
			return err == nil && s.Offset > 0
		})
		newer := host.Local(b.agent().Handler(), func() host.Identity { return host.Identity{StoreID: "store-a", Epoch: 2} })
		must(t, newer.Clean(ctx, testCluster))
		close(body.open)
		var fenced *host.FencedError
		if err := <-first; !errors.As(err, &fenced) || fenced.OtherStore {
			t.Fatalf("an older leader's transfer: %v", err)
		}
		stranger := host.Local(b.agent().Handler(), func() host.Identity { return host.Identity{StoreID: "store-b", Epoch: 9} })
		if err := send(ctx, stranger, c); !errors.As(err, &fenced) || !fenced.OtherStore {
			t.Fatalf("another store's transfer: %v", err)
		}
		if f := facts(t, h, b); slices.Contains(f.Versions, otherVersion) {
			t.Fatal("it is installed")
		}
		must(t, send(ctx, newer, c))
	})
}
