package store

import (
	"errors"
	"testing"
	"time"
)

func TestHostKeys(t *testing.T) {
	s := open(t, testOptions(t))
	const address = "[fd00::1]:22"
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	first, second := HostKey{Key: "ssh-ed25519 AAAA", By: "ada", At: at}, HostKey{Key: "ssh-rsa AAAA", By: "ada", At: at}
	if k, err := s.HostKey(t.Context(), address); err != nil || k != nil {
		t.Fatalf("%+v, %v", k, err)
	}
	if err := s.TrustHostKey(t.Context(), address, nil, first); err != nil {
		t.Fatal(err)
	}
	for name, was := range map[string]*HostKey{"none": nil, "another": &second} {
		if err := s.TrustHostKey(t.Context(), address, was, second); !errors.Is(err, ErrConflict) {
			t.Errorf("in place of %s: %v", name, err)
		}
	}
	if k, err := s.HostKey(t.Context(), address); err != nil || *k != first {
		t.Fatalf("%+v, %v", k, err)
	}
	if err := s.TrustHostKey(t.Context(), address, &first, second); err != nil {
		t.Fatal(err)
	}
	if k, err := s.HostKey(t.Context(), address); err != nil || *k != second {
		t.Fatalf("%+v, %v", k, err)
	}
	if k, err := s.HostKey(t.Context(), "[fd00::1]:2222"); err != nil || k != nil {
		t.Errorf("another port has the key too: %+v, %v", k, err)
	}
	if err := s.TrustHostKey(t.Context(), "a/b", nil, first); err == nil {
		t.Error("a name with a slash is taken")
	}
}
