package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// retryEvery is the longest pause between two tries, here and inside gRPC.
const retryEvery = 10 * time.Millisecond

// clients is one client per member, so that each request goes to a known one.
type clients []*clientv3.Client

func connect(endpoints []string, config *tls.Config) (clients, error) {
	var out clients
	for _, e := range endpoints {
		c, err := clientv3.New(clientv3.Config{
			Endpoints: []string{e},
			TLS:       config,
			Logger:    zap.NewNop(),
			DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: retryEvery, Multiplier: 1, MaxDelay: retryEvery},
				MinConnectTimeout: 20 * time.Second,
			})},
		})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("connect to %s: %w", e, err), out.close())
		}
		out = append(out, c)
	}
	return out, nil
}

func (cs clients) close() error {
	var errs []error
	for _, c := range cs {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// each runs fn through every member at once, again and again until it succeeds.
func (cs clients) each(ctx context.Context, fn func(context.Context, *clientv3.Client) error) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, c := range cs {
		g.Go(func() error {
			for {
				err := fn(ctx, c)
				if err == nil {
					return nil
				}
				select {
				case <-ctx.Done():
					return fmt.Errorf("%s: %w", c.Endpoints()[0], err)
				case <-time.After(retryEvery):
				}
			}
		})
	}
	return g.Wait()
}

// serving returns once every member answered a linearizable read.
func (cs clients) serving(ctx context.Context) error {
	return cs.each(ctx, func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.Get(ctx, "floor", clientv3.WithKeysOnly())
		return err
	})
}

// write returns once a write went through every member.
func (cs clients) write(ctx context.Context) error {
	return cs.each(ctx, func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.Put(ctx, "/registry/bench"+c.Endpoints()[0], "x")
		return err
	})
}

// authOn fails unless every member says that authentication is on.
func (cs clients) authOn(ctx context.Context) error {
	for _, c := range cs {
		s, err := c.AuthStatus(ctx)
		if err != nil {
			return fmt.Errorf("read auth status: %w", err)
		}
		if !s.Enabled {
			return fmt.Errorf("%s: auth is off", c.Endpoints()[0])
		}
	}
	return nil
}

// setUpAuth does what CKE does: two roles, two users without a password, auth on.
func setUpAuth(ctx context.Context, c *clientv3.Client) error {
	const apiserver, prefix = "kube-apiserver", "/registry/"
	steps := []func() error{
		func() error { _, err := c.RoleAdd(ctx, "root"); return err },
		func() error { _, err := c.RoleAdd(ctx, apiserver); return err },
		func() error {
			_, err := c.RoleGrantPermission(ctx, apiserver, prefix, clientv3.GetPrefixRangeEnd(prefix),
				clientv3.PermissionType(clientv3.PermReadWrite))
			return err
		},
	}
	for _, user := range []string{"root", apiserver} {
		steps = append(steps,
			func() error {
				_, err := c.UserAddWithOptions(ctx, user, "", &clientv3.UserAddOptions{NoPassword: true})
				return err
			},
			func() error { _, err := c.UserGrantRole(ctx, user, user); return err })
	}
	steps = append(steps, func() error { _, err := c.AuthEnable(ctx); return err })
	for _, step := range steps {
		if err := step(); err != nil {
			return fmt.Errorf("set up auth: %w", err)
		}
	}
	return nil
}
