package store

import (
	"errors"
	"testing"
	"time"

	"cke/internal/cluster"
)

func TestDefragRequests(t *testing.T) {
	s := open(t, testOptions(t))
	ctx := t.Context()
	ask := []cluster.DefragRequest{{Node: "cp1", By: "ada", At: time.Unix(1700000000, 0).UTC()}, {Node: "cp2", By: "ada"}}
	if err := s.AskDefrag(ctx, "main", ask); !errors.Is(err, ErrNotFound) {
		t.Errorf("no cluster: %v", err)
	}
	put(t, s, spec("main", 1, 2))
	put(t, s, spec("main2", 9))
	for range 2 {
		if err := s.AskDefrag(ctx, "main", ask); err != nil {
			t.Fatal(err)
		}
	}
	want := func(name string, all ...cluster.DefragRequest) {
		t.Helper()
		got, err := s.Load(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "requests", got.Defrag, all)
	}
	want("main", ask...)
	want("main2")
	for range 2 {
		if err := s.ForgetDefrag(ctx, "main", "cp1"); err != nil {
			t.Fatal(err)
		}
		want("main", ask[1])
	}
	if err := s.AskDefrag(ctx, "main", []cluster.DefragRequest{{Node: "../main2"}}); err == nil {
		t.Error("a name that reaches into another cluster's keys is taken")
	}
}
