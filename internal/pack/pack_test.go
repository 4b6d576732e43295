package pack

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	"pgregory.net/rapid"
)

func packed(t rapid.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := Pack(context.Background(), &out, bytes.NewReader(b)); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestWhatIsPackedComesOutAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := bytes.Repeat(rapid.SliceOf(rapid.Byte()).Draw(t, "part"), rapid.IntRange(0, 1000).Draw(t, "times"))
		var out bytes.Buffer
		if err := Unpack(t.Context(), &out, bytes.NewReader(packed(t, b)), int64(len(b))); err != nil || !bytes.Equal(out.Bytes(), b) {
			t.Fatalf("%d of %d bytes, %v", out.Len(), len(b), err)
		}
	})
}

// A few bytes that would fill a disk stop at what was announced.
func TestABombStopsAtTheAnnouncedSize(t *testing.T) {
	bomb := packed(t, make([]byte, 256<<20))
	if len(bomb) > 1<<20 {
		t.Fatalf("the bomb has %d bytes", len(bomb))
	}
	var out bytes.Buffer
	if err := Unpack(t.Context(), &out, bytes.NewReader(bomb), 1000); !errors.Is(err, ErrSize) || out.Len() > 1001 {
		t.Fatalf("%d bytes, %v", out.Len(), err)
	}
}

func TestACutOrDamagedStreamIsNoticed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.Byte(), 1, 5000).Draw(t, "bytes")
		p := packed(t, b)
		at := rapid.IntRange(0, len(p)-1).Draw(t, "at")
		var out bytes.Buffer
		if err := Unpack(t.Context(), &out, bytes.NewReader(p[:at]), int64(len(b))); err == nil {
			t.Fatalf("cut at %d of %d: no error", at, len(p))
		}
	})
	if err := Unpack(t.Context(), io.Discard, bytes.NewReader([]byte("not packed at all")), 17); err == nil {
		t.Fatal("noise unpacks")
	}
}

func TestItEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Pack(ctx, io.Discard, bytes.NewReader(make([]byte, 10))); !errors.Is(err, context.Canceled) {
		t.Errorf("pack: %v", err)
	}
	if err := Unpack(ctx, io.Discard, bytes.NewReader(packed(t, make([]byte, 10))), 10); !errors.Is(err, context.Canceled) {
		t.Errorf("unpack: %v", err)
	}
}
