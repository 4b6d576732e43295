package kube

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"cke/internal/cluster"
)

// TestWordingIsNoNews: an error that reads otherwise each time has nobody look
// at all machines each time.
func TestWordingIsNoNews(t *testing.T) {
	t.Parallel()
	changed := 0
	p := New(Options{Changed: func() { changed++ }})
	for i, c := range []struct {
		err  error
		want int
	}{
		{errors.New("read tcp 10.0.0.1:40001: connection reset"), 1},
		{errors.New("read tcp 10.0.0.1:40002: connection reset"), 1},
		{nil, 2},
	} {
		if p.accessible(c.err); changed != c.want {
			t.Errorf("after %d: %d changes, want %d", i, changed, c.want)
		}
	}
}

func TestWhatWasNotHeardIsUnknown(t *testing.T) {
	t.Parallel()
	p := New(Options{})
	if got := p.Published(); !got.Unknown {
		t.Errorf("before the first answer: %+v", got)
	}
	p.accessible(errors.New("no such file"))
	if got := p.Published(); got.Unknown || got.Trouble == "" {
		t.Errorf("nobody can be asked: %+v", got)
	}
	p.accessible(nil)
	for _, k := range endpointKeys() {
		p.board.say(subjectEndpoints, k.String(), nil, time.Unix(1, 0))
	}
	if got := p.Published(); got.Unknown || got.Trouble != "" {
		t.Errorf("all were heard: %+v", got)
	}
}

// TestForgettingIsRepeated: a bundle that was added and removed again between two
// looks is one that nobody has forgotten.
func TestForgettingIsRepeated(t *testing.T) {
	t.Parallel()
	forgotten := 0
	p := New(Options{Forget: func(context.Context, cluster.Bundle) error { forgotten++; return nil }})
	k := newKeeper(p, key{kind: secretKind()})
	now := time.Unix(1000, 0)
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{0, 1}, {time.Second, 1}, {longestLook, 2}} {
		_, faults, again := k.forget(t.Context(), cluster.Bundle{}, now.Add(c.after))
		if forgotten != c.want || len(faults) > 0 || again > longestLook {
			t.Errorf("after %s: forgotten %d times, again in %s; %v", c.after, forgotten, again, faults)
		}
	}
}

// TestAFailingPluginIsKnown: it is not asked as often as a file is read.
func TestAFailingPluginIsKnown(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	for user, plugin := range map[string]bool{
		"{exec: {apiVersion: client.authentication.k8s.io/v1, command: 'false', interactiveMode: Never}}": true,
		"{tokenFile: /no/such/file}": false,
	} {
		text := "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n" +
			"clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\nusers: [{name: u, user: " + user + "}]\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if l, err := enter(t.Context(), file, time.Unix(1, 0)); err == nil || l.plugin != plugin {
			t.Errorf("%s: plugin %v, error %v", user, l.plugin, err)
		}
	}
}

// TestWhatMakesALoginDoubtful: what one object is refused costs the others no
// new login.
func TestWhatMakesALoginDoubtful(t *testing.T) {
	t.Parallel()
	k := newKeeper(New(Options{}), serviceKey())
	for rule, want := range map[string]int{
		ruleCredentialsRefused: 1, ruleNotTrusted: 1, rulePermissionMissing: 0, ruleUnreachable: 0,
	} {
		s := &session{doubt: make(chan struct{}, 1)}
		if k.doubt(s, fault{rule: rule}); len(s.doubt) != want {
			t.Errorf("%s: %d doubts, want %d", rule, len(s.doubt), want)
		}
	}
}

// TestALoginInVain: after one that was good for nothing the plugin is asked later
// and later.
func TestALoginInVain(t *testing.T) {
	t.Parallel()
	began := time.Unix(1000, 0)
	print, err := printOf(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what    string
		login   login
		doubted time.Duration // when, since the login
		want    bool
	}{
		{"refused", login{plugin: true, print: print}, restless, true},
		{"refused after it was good", login{plugin: true, print: print}, time.Hour, false},
		{"at its end", login{plugin: true, print: print, expires: began.Add(time.Hour)}, 2 * time.Hour, false},
		{"ended before it began", login{plugin: true, print: print, expires: began.Add(-time.Second)}, time.Second, true},
		{"another file", login{print: "another"}, time.Second, false},
	} {
		asked := false
		p := New(Options{Now: func() time.Time {
			if !asked {
				asked = true
				return began
			}
			return began.Add(c.doubted)
		}})
		asked = false
		s := &session{doubt: make(chan struct{}, 1)}
		s.question()
		if got := p.serve(t.Context(), s, c.login); got != c.want {
			t.Errorf("%s: in vain %v", c.what, got)
		}
	}
}
