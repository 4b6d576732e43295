package e2e

import (
	"context"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/cluster"
	"cke/test/drive"
)

// removeUser takes a tenant out that has nothing to do with the others.
func (l *living) removeUser() *change {
	var leaver *clientv3.Client
	removed := func() {
		l.ask("read as the removed user", func(ctx context.Context) error {
			_, err := leaver.Get(ctx, "/leaver/x")
			switch {
			case err == nil:
				l.t.Error("a removed user reads its keys")
			case err.Error() != refusal:
				return err
			}
			return nil
		})
	}
	return &change{
		name: "remove user", nodes: []int{1, 2, 3, 4}, walk: newWalk(l.reached),
		prepare: func() {
			l.Start()
			l.CLI("etcd", "user-add", "leaver", "/leaver/")
			if leaver == nil {
				leaver = l.connect(l.UserCert("leaver"), 1, 2, 3)
			}
			l.ask("write as the user that will leave", func(ctx context.Context) error {
				_, err := leaver.Put(ctx, "/leaver/x", "v")
				return err
			})
			l.Kill()
		},
		act: func() bool {
			r := l.Run("ckecli", "etcd", "user-remove", "leaver")
			if r.Code == 0 || strings.Contains(r.Stderr, "there is no user") { // the one before got through
				return true
			}
			select {
			case <-l.Ended():
			case <-time.After(drive.Patience):
				l.t.Fatalf("user-remove: exit %d from a daemon that lives\n%s", r.Code, r.Stderr)
			}
			return false
		},
		dead: func() {
			l.authStaysOn()
			removed() // the user is the first to go
		},
		check: func(before map[string]cluster.MemberID) {
			l.others(before, "")
			removed()
		},
	}
}
