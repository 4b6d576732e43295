package seal

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

const testContext = "/cke/clusters/main/ca/server"

func testKey(t *testing.T, fill byte) *Key {
	t.Helper()
	k, err := newKey(bytes.Repeat([]byte{fill}, keySize))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSealedValueOpens(t *testing.T) {
	k := testKey(t, 1)
	for _, size := range []int{0, 1, 15, 16, 17, 1000, 1 << 20} {
		plain := bytes.Repeat([]byte("s"), size)
		sealed, err := k.Seal(plain, testContext)
		if err != nil {
			t.Fatal(err)
		}
		if len(sealed) != size+37 {
			t.Errorf("%d bytes became %d", size, len(sealed))
		}
		got, err := k.Open(sealed, testContext)
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%d bytes: opened %d, %v", size, len(got), err)
		}
	}
}

func TestSealIsRandomAndHidesThePlaintext(t *testing.T) {
	k := testKey(t, 1)
	plain := []byte("-----BEGIN PRIVATE KEY-----")
	seen := map[string]bool{}
	for range 100 {
		sealed, err := k.Seal(plain, testContext)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(sealed, plain[:8]) {
			t.Fatal("the plaintext is visible")
		}
		nonce := string(sealed[headerSize : headerSize+12])
		if seen[nonce] {
			t.Fatal("a nonce was used twice")
		}
		seen[nonce] = true
	}
}

func TestSealRefusesAnEmptyContext(t *testing.T) {
	if _, err := testKey(t, 1).Seal([]byte("x"), ""); err == nil {
		t.Error("sealed without a context")
	}
}

func TestWrongKeyIsNamed(t *testing.T) {
	a, b := testKey(t, 1), testKey(t, 2)
	sealed, err := a.Seal([]byte("secret"), testContext)
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.Open(sealed, testContext)
	if !errors.Is(err, ErrWrongKey) || errors.Is(err, ErrTampered) {
		t.Fatalf("got %v", err)
	}
	for _, id := range []string{a.ID(), b.ID(), testContext} {
		if !strings.Contains(err.Error(), id) {
			t.Errorf("%q is not in %q", id, err)
		}
	}
}

func TestValuesCannotBeSwapped(t *testing.T) {
	k := testKey(t, 1)
	sealed, err := k.Seal([]byte("secret"), testContext)
	if err != nil {
		t.Fatal(err)
	}
	for _, context := range []string{"", "/", testContext + "x", testContext[1:], "/cke/clusters/main/ca/client"} {
		if got, err := k.Open(sealed, context); !errors.Is(err, ErrTampered) || got != nil {
			t.Errorf("under %q: %q, %v", context, got, err)
		}
	}
}

// TestNoChangeIsOverlooked cuts the value at every length, flips every bit and
// inserts and removes every byte.
func TestNoChangeIsOverlooked(t *testing.T) {
	k := testKey(t, 1)
	sealed, err := k.Seal([]byte("a secret of some length"), testContext)
	if err != nil {
		t.Fatal(err)
	}
	inID := func(i int) bool { return i >= 1 && i < headerSize }
	check := func(name string, changed []byte, want ...error) {
		t.Helper()
		got, err := k.Open(changed, testContext)
		for _, w := range want {
			if errors.Is(err, w) && got == nil {
				return
			}
		}
		t.Errorf("%s: %q, %v", name, got, err)
	}
	for n := range sealed {
		check(fmt.Sprintf("first %d bytes", n), sealed[:n], ErrTampered)
		check(fmt.Sprintf("without the first %d bytes", n+1), sealed[n+1:], ErrTampered, ErrWrongKey)
		for bit := range 8 {
			flipped := bytes.Clone(sealed)
			flipped[n] ^= 1 << bit
			want := ErrTampered
			if inID(n) {
				want = ErrWrongKey
			}
			check(fmt.Sprintf("byte %d bit %d flipped", n, bit), flipped, want)
		}
		inserted := append(append(bytes.Clone(sealed[:n]), sealed[n]^1), sealed[n:]...)
		check(fmt.Sprintf("a byte inserted at %d", n), inserted, ErrTampered, ErrWrongKey)
	}
	check("a byte appended", append(bytes.Clone(sealed), 0), ErrTampered)
	check("nothing", nil, ErrTampered)
	if _, err := k.Open(sealed, testContext); err != nil {
		t.Errorf("the unchanged value: %v", err)
	}
}

func FuzzOpenNeverAcceptsWhatWasNotSealed(f *testing.F) {
	k, err := newKey(bytes.Repeat([]byte{7}, keySize))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte{})
	f.Add(append([]byte{version}, k.id[:]...))
	f.Add(append(append([]byte{version}, k.id[:]...), make([]byte, 64)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := k.Open(b, testContext)
		if got != nil || !errors.Is(err, ErrTampered) && !errors.Is(err, ErrWrongKey) {
			t.Errorf("%x: %q, %v", b, got, err)
		}
	})
}

func TestKeyNeverPrints(t *testing.T) {
	k := testKey(t, 'K')
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("m", "key", k)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "key", k)
	printed := log.String() + fmt.Sprintf("|%v|%+v|%#v|%s|%q", k, k, k, k, k)
	if n := strings.Count(printed, redacted); n != 7 {
		t.Errorf("redacted %d times of 7: %s", n, printed)
	}
	if strings.Contains(printed, "KKKK") || strings.Contains(printed, "75, 75") {
		t.Errorf("the key is visible: %s", printed)
	}
}
