package drive

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"cke/internal/api"
	"cke/internal/plan"
)

// FillUp writes values of 256 KiB under keys that key names until etcd refuses.
func (in *Installation) FillUp(c *clientv3.Client, key func(n int) string) {
	in.T.Helper()
	value := strings.Repeat("x", 256<<10)
	for n := range 4000 {
		full := false
		// A busy machine may be between two leaders; what is put twice fills no less.
		in.Eventually(fmt.Sprintf("put %d", n), func() error {
			err := put(c, key(n), value)
			if full = errors.Is(err, rpctypes.ErrNoSpace); full {
				return nil
			}
			return err
		})
		if full {
			return
		}
	}
	in.T.Fatal("the quota is never reached")
}

// Overfill goes on writing new keys, also after what was given back let more in, until
// there is nothing to give back any more. It returns what CKE says of that.
func (in *Installation) Overfill(c *clientv3.Client, prefix string) plan.Reason {
	in.T.Helper()
	for round := range 10 {
		in.FillUp(c, func(n int) string { return fmt.Sprintf("%s%d-%d", prefix, n, round) })
		var found *plan.Reason
		in.Until("writes are let in again, or the data is too much", func(s api.Status) error {
			for _, r := range s.Plan.Reasons {
				if r.Rule == "liveDataExceedsQuota" {
					found = &r
					return nil
				}
			}
			return put(c, prefix+"again", "1")
		})
		if found != nil {
			return *found
		}
	}
	in.T.Fatal("the data is never too much")
	return plan.Reason{}
}

func put(c *clientv3.Client, key, value string) error {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	_, err := c.Put(ctx, key, value)
	return err
}
