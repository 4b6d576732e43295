package kube

import (
	"fmt"
	"testing"
	"time"
)

func TestBoard(t *testing.T) {
	t.Parallel()
	b := newBoard()
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	look := func(want string) {
		t.Helper()
		got := ""
		for _, c := range b.conditions() {
			got += fmt.Sprintf("%s %v %s %s %d; ", c.Subject, c.OK, c.Rule, c.Text, c.Since.Unix())
		}
		if got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
	look("")
	all := endpointKeys()
	for _, k := range all[1:] {
		b.say(subjectEndpoints, k.String(), nil, at(1))
	}
	look("") // one has not been heard
	b.say(subjectEndpoints, all[0].String(), []fault{{rule: ruleSlow, text: "x"}}, at(2))
	look("endpoints false apiServerIsSlow x 2; ")
	if got := b.trouble(); got != "" {
		t.Errorf("trouble with the Service alone: %q", got)
	}
	b.say(subjectEndpoints, all[2].String(), []fault{{rule: ruleSlow, text: "x"}}, at(2))
	if got := b.trouble(); got != "x" {
		t.Errorf("trouble %q", got)
	}
	// The same fault from another, with another text: one, since the first.
	b.say(subjectEndpoints, all[1].String(), []fault{{rule: ruleSlow, text: "y"}, {rule: ruleTakenOver, text: "z"}}, at(3))
	look("endpoints false apiServerIsSlow x 2; endpoints false fieldsWereTakenOver z 3; ")
	b.say(subjectEndpoints, all[0].String(), nil, at(4))
	b.say(subjectEndpoints, all[2].String(), nil, at(4))
	b.say(subjectEndpoints, all[1].String(), []fault{{rule: ruleTakenOver, text: "z"}}, at(5))
	look("endpoints false fieldsWereTakenOver z 3; ")
	if got := b.trouble(); got != "" {
		t.Errorf("trouble %q", got)
	}
	b.say(subjectEndpoints, all[1].String(), nil, at(6))
	b.say("secret a/b", "Secret a/b", nil, at(7))
	look("endpoints true   6; secret a/b true   7; ")
	b.unsay("secret a/b", "Secret a/b", at(8))
	look("endpoints true   6; ")
}
