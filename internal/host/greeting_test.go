package host

import (
	"errors"
	"io"
	"strings"
	"testing"
)

func TestGreeting(t *testing.T) {
	c, s := pipePair(t)
	defer s.Close()
	session := NewSession(c)
	defer session.Close()
	go func() { _, _ = io.WriteString(s, "motd\n> "+me().line()) }()
	for range 2 {
		g, err := session.Greet(t.Context())
		if err != nil || g != me() {
			t.Fatalf("%+v, %v", g, err)
		}
	}
}

func TestGreetingOfAnotherProtocol(t *testing.T) {
	c, s := pipePair(t)
	defer s.Close()
	session := NewSession(c)
	defer session.Close()
	go func() { _, _ = io.WriteString(s, strings.Replace(me().line(), "http2 1", "http2 2", 1)) }()
	_, err := session.Greet(t.Context())
	var none *NoGreetingError
	if !errors.Is(err, ErrSessionEnded) || !errors.As(err, &none) || none.Other == nil || *none.Other != me() || none.Ended {
		t.Fatalf("got %v", err)
	}
}

// What a program says of itself is true of the file that runs.
func TestMyself(t *testing.T) {
	g, err := Myself("v1")
	if err != nil {
		t.Fatal(err)
	}
	again, err := Myself("v1")
	if err != nil || g != again || g.Version != "v1" || len(g.Sum) != 64 || g.Arch == "" {
		t.Fatalf("%+v, %+v, %v", g, again, err)
	}
	if _, err := awaitGreeting(strings.NewReader(g.line())); err != nil {
		t.Fatal(err)
	}
}
