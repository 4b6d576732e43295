package kube

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/watch"

	"cke/internal/cluster"
	"cke/internal/units"
)

// mint issues numbered certificates and calls those in spoilt bad.
type mint struct {
	issued int
	spoilt []string
	err    error
}

func (m *mint) IssueBundle(user string, ttl units.Duration, _ time.Time) (cert, key []byte, err error) {
	if m.err != nil {
		return nil, nil, m.err
	}
	m.issued++
	return fmt.Appendf(nil, "%s %s %d", user, ttl, m.issued), []byte("key"), nil
}

func (m *mint) CheckBundle(_ string, cert, _ []byte, _ time.Time) []string {
	if slices.Contains(m.spoilt, string(cert)) {
		return []string{"two thirds of its life are over"}
	}
	return nil
}

func bundle() cluster.Bundle {
	return cluster.Bundle{User: "app", Namespace: "shop", Name: "etcd", TTL: units.Duration(time.Hour)}
}

func TestWhenACertificateIsIssued(t *testing.T) {
	t.Parallel()
	m := &mint{}
	k := newKeeper(New(Options{Authority: m}), secretKey(bundle()))
	v := view{export: Export{Cluster: "main", Endpoints: es("a 10.0.0.1"), Bundles: []cluster.Bundle{bundle()}}, live: map[key]*unstructured.Unstructured{}}
	now := time.Unix(1000, 0)
	decide := func(what string, deed deed, cert string) move {
		t.Helper()
		got, faults, look := k.decideSecret(t.Context(), v, now)
		if got.do != deed || len(faults) > 0 || look != time.Minute {
			t.Fatalf("%s: %v %v %s", what, got.do, faults, look)
		}
		if c := installed(&unstructured.Unstructured{Object: got.body}); got.body != nil && string(c.cert) != cert {
			t.Errorf("%s: %q, want %q", what, c.cert, cert)
		}
		return got
	}
	brought := func(m move) { v.live[k.key] = &unstructured.Unstructured{Object: m.body} }
	first := decide("none is there", apply, "app 1h 1")
	again := decide("it could not be brought there", apply, "app 1h 1")
	if first.mark() != again.mark() {
		t.Error("the same again has another mark")
	}
	brought(first)
	decide("it is there", nothing, "")
	m.spoilt = []string{"app 1h 1"}
	renewed := decide("it gets old", apply, "app 1h 2")
	if renewed.mark() != first.mark() {
		t.Error("somebody who spoils the Secret again and again is answered without a pause")
	}
	brought(renewed)
	decide("it is new", nothing, "")
	v.export.Endpoints = es("a 10.0.0.2")
	moved := decide("endpoints change", apply, "app 1h 2")
	if moved.mark() == renewed.mark() {
		t.Error("other endpoints have the same mark")
	}
	v.export.Bundles[0].TTL = units.Duration(2 * time.Hour)
	decide("for longer", apply, "app 2h 3")
	v.export.Bundles[0].User = "other"
	decide("for another", apply, "other 2h 4")

	k.fresh, m.err = credential{}, errors.New("the CA has ended")
	got, faults, _ := k.decideSecret(t.Context(), v, now)
	if got.do != nothing || len(faults) != 1 || faults[0].rule != ruleNotIssued {
		t.Errorf("without a CA: %v %v", got.do, faults)
	}
}

func TestForgettingIsTriedAgain(t *testing.T) {
	t.Parallel()
	var calls int
	err := errors.New("no leader")
	p := New(Options{Authority: &mint{}, Forget: func(context.Context, cluster.Bundle) error { calls++; return err }})
	b := bundle()
	b.Removing = true
	k := newKeeper(p, secretKey(b))
	v := view{export: Export{Cluster: "main", Bundles: []cluster.Bundle{b}}, live: map[key]*unstructured.Unstructured{}}
	now := time.Unix(1000, 0)
	for i, c := range []struct {
		after  time.Duration
		calls  int
		faults int
	}{{0, 1, 1}, {0, 1, 1}, {time.Second, 2, 1}} {
		now = now.Add(c.after)
		if _, faults, wait := k.decideSecret(t.Context(), v, now); calls != c.calls || len(faults) != c.faults || wait <= 0 {
			t.Errorf("%d: %d calls, %v, %s", i, calls, faults, wait)
		}
	}
	err = nil
	now = now.Add(2 * time.Second)
	// It is heard, and said once more after a while.
	for i, c := range []struct {
		after time.Duration
		calls int
	}{{0, 3}, {longestLook / 2, 3}, {longestLook / 2, 4}, {longestLook / 2, 4}} {
		now = now.Add(c.after)
		if m, faults, _ := k.decideSecret(t.Context(), v, now); calls != c.calls || len(faults) > 0 || m.do != nothing {
			t.Errorf("heard, %d: %d calls, %v", i, calls, faults)
		}
	}
}

// The watch may tell what was before an apply after the apply's own answer.
func TestOldNewsIsNone(t *testing.T) {
	t.Parallel()
	p := New(Options{})
	k := newKeeper(p, sliceKey())
	p.keepers[k.key] = k
	object := func(version, mark string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"metadata": map[string]any{"name": objectName, "resourceVersion": version}, "mark": mark,
		}}
	}
	k.floor = "10"
	for _, c := range []struct {
		what          watch.EventType
		version, mark string
		want          string
	}{
		{watch.Added, "9", "old", "none"},
		{watch.Added, "11", "a", "a"},
		{watch.Modified, "11", "again", "a"},
		{watch.Deleted, "8", "", "a"},
		{watch.Bookmark, "100", "bookmark", "a"},
		{watch.Modified, "12", "b", "b"},
		{watch.Deleted, "13", "", "none"},
		{watch.Modified, "12", "late", "none"},
		{watch.Added, "not a number", "c", "c"},
	} {
		k.take(c.what, object(c.version, c.mark))
		got := "none"
		if live := p.view(k.key).live[k.key]; live != nil {
			got = live.Object["mark"].(string)
		}
		if got != c.want {
			t.Errorf("%s %s: live is %s, want %s", c.what, c.version, got, c.want)
		}
	}
}

// A cke that was started when nobody serves does not know who did; who reads a
// Secret keeps what it had.
func TestASecretKeepsEndpointsThatNobodyKnows(t *testing.T) {
	t.Parallel()
	v := view{export: Export{Cluster: "main", Endpoints: es("a !10.0.0.1")}, live: published(t, es("x 10.0.0.9"))}
	old, err := view{export: Export{Endpoints: es("x 10.0.0.9")}}.secretBody(bundle(), credential{}, nil)
	if got := v.clientURLs(live(t, old, err)); got != "https://10.0.0.9:2379" {
		t.Errorf("endpoints %s", got)
	}
	if got := v.clientURLs(nil); got != "https://10.0.0.1:2379" {
		t.Errorf("a new Secret has %q", got)
	}
	// Pods can reach nobody on loopback; what cke dev makes is used on its machine.
	v = view{export: Export{Endpoints: es("a 127.0.0.1", "b 127.0.0.2")}}
	if got := v.clientURLs(nil); got != "https://127.0.0.1:2379,https://127.0.0.2:2379" {
		t.Errorf("on loopback: %q", got)
	}
}
