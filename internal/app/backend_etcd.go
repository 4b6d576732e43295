package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/internal/etcd"
	"cke/internal/pki"
	"cke/internal/plan"
	"cke/internal/reconcile"
	"cke/internal/store"
	"cke/internal/units"
)

// founded returns a cluster's care once it is bootstrapped: no certificate
// leaves CKE before authentication is on.
func (b backend) founded(ctx context.Context, name string) (*care, error) {
	c, err := b.care(ctx, name)
	if err != nil {
		return nil, err
	}
	boot, err := b.store.Bootstrap(ctx, name)
	if err != nil {
		return nil, err
	}
	if boot.Phase != cluster.PhaseBootstrapped {
		return nil, api.Refused(fmt.Sprintf("cluster %s is not bootstrapped yet", name), "ckecli status tells how far it is")
	}
	return c, nil
}

func (b backend) IssueRoot(ctx context.Context, name string) (api.Certificate, error) {
	began := time.Now()
	c, err := b.founded(ctx, name)
	if err != nil {
		return api.Certificate{}, err
	}
	return b.issue(ctx, c, cluster.RootUser, rootTTL, began)
}

func (b backend) Issue(ctx context.Context, name, user string, ttl time.Duration) (api.Certificate, error) {
	began := time.Now()
	c, err := b.founded(ctx, name)
	if err != nil {
		return api.Certificate{}, err
	}
	if user == cluster.RootUser {
		return api.Certificate{}, api.Invalid("a certificate of root lives 2 h and is issued by a command of its own", "ckecli etcd root-issue")
	}
	users, err := b.Users(ctx, name)
	if err != nil {
		return api.Certificate{}, err
	}
	if !slices.ContainsFunc(users, func(u cluster.User) bool { return u.Name == user }) {
		return api.Certificate{}, api.NotFound(fmt.Sprintf("there is no user %q in cluster %s", user, name), "ckecli etcd user-add USER PREFIX makes one")
	}
	return b.issue(ctx, c, user, ttl, began)
}

func (b backend) issue(ctx context.Context, c *care, user string, ttl time.Duration, began time.Time) (api.Certificate, error) {
	cert, err := c.authority.Client.Issue(pki.ClientRequest(user, ttl), time.Now())
	var tooLong *pki.TTLError
	if errors.As(err, &tooLong) {
		return api.Certificate{}, api.Invalid(err.Error(), "choose a shorter --ttl")
	}
	action := fmt.Sprintf("issue a certificate of %s for %s", user, units.Duration(ttl))
	if err := b.note(ctx, c.name, action, "", err, began); err != nil {
		return api.Certificate{}, err
	}
	return api.Certificate{
		CACertificate: string(c.authority.Server.CertPEM()), Certificate: string(cert.CertPEM), PrivateKey: string(cert.KeyPEM),
	}, nil
}

// Users are the tenants and the API server, which has been one from the start.
func (b backend) Users(ctx context.Context, name string) ([]cluster.User, error) {
	if _, _, err := b.store.Spec(ctx, name); err != nil {
		return nil, notFound(err, name)
	}
	users, err := b.store.Users(ctx, name)
	return append([]cluster.User{{Name: cluster.APIServerUser, Prefix: cluster.APIServerPath}}, users...), err
}

// userPatience bounds how long AddUser and RemoveUser wait for etcd to follow.
const userPatience = 30 * time.Second

func (b backend) AddUser(ctx context.Context, name string, u cluster.User) (bool, error) {
	began := time.Now()
	if err := cluster.ValidateUser(u); err != nil {
		return false, api.Invalid(err.Error(), "nothing was changed")
	}
	c, err := b.founded(ctx, name)
	if err != nil {
		return false, err
	}
	v, err := quorate(ctx, c.loop)
	if err != nil {
		return false, err
	}
	if err := clash(u, v.State); err != nil {
		return false, err
	}
	created, err := b.store.AddUser(ctx, name, u)
	var exists *store.UserExistsError
	var overlaps *store.OverlapError
	if errors.As(err, &exists) || errors.As(err, &overlaps) {
		return false, api.Refused(err.Error(), "nothing was changed; choose another name or prefix")
	}
	if err != nil {
		return false, err
	}
	if created {
		// Whoever asked may be gone by now; that access was given is recorded all the same.
		if err := b.note(ctx, name, "user-add "+u.Name+" "+u.Prefix, "", nil, began); err != nil {
			return true, err
		}
	}
	return created, awaitUser(ctx, c.loop, u)
}

// clash refuses a user whose name or keys someone in etcd has whom CKE's store
// does not know: made by hand, or before the store was restored from an older
// backup. Exactly the same grant may be taken over.
func clash(u cluster.User, st cluster.State) error {
	known := map[string]bool{cluster.RootUser: true, cluster.APIServerUser: true}
	for _, k := range st.Users {
		known[k.Name] = true
	}
	for _, k := range st.RemovedUsers {
		known[k.Name] = true // what it has in etcd is taken away before any is given
	}
	if known[u.Name] {
		return nil // the store compares
	}
	want := cluster.Permission{Key: u.Prefix, RangeEnd: cluster.PrefixRangeEnd(u.Prefix), Type: "READWRITE"}
	for role, perms := range st.Etcd.Auth.Roles {
		for _, p := range perms {
			switch {
			case known[role] || role == u.Name && p == want:
			case role == u.Name:
				return api.Refused(fmt.Sprintf("etcd has a role %q with other permissions, which CKE did not make", role),
					"nothing was changed; choose another name, or make the user with the prefix it has")
			case cluster.RangesOverlap(p.Key, p.RangeEnd, want.Key, want.RangeEnd):
				return api.Refused(fmt.Sprintf("prefix %q overlaps what role %q has in etcd, which CKE did not make", u.Prefix, role),
					"nothing was changed; choose another prefix, or take that role away with etcdctl as root")
			}
		}
	}
	if roles := st.Etcd.Auth.Users[u.Name]; slices.ContainsFunc(roles, func(r string) bool { return r != u.Name }) {
		return api.Refused(fmt.Sprintf("etcd has a user %q with roles %v, which CKE did not make", u.Name, roles), "nothing was changed; choose another name")
	}
	return nil
}

// awaitUser waits until the loop has seen the user in etcd as wanted.
func awaitUser(ctx context.Context, l *reconcile.Loop, u cluster.User) error {
	ctx, cancel := context.WithTimeout(ctx, userPatience)
	defer cancel()
	want := cluster.Permission{Key: u.Prefix, RangeEnd: cluster.PrefixRangeEnd(u.Prefix), Type: "READWRITE"}
	l.Wake()
	err := awaitView(ctx, l, func(v reconcile.View) bool {
		auth := v.State.Etcd.Auth
		// While users are being changed, an earlier one of this name may be going.
		changing := slices.ContainsFunc(v.Running, func(s plan.Step) bool { return s.Kind == plan.ConfigureAuth })
		return !changing && slices.Contains(v.Wanted.Users, u) &&
			slices.Contains(auth.Users[u.Name], u.Name) && slices.Contains(auth.Roles[u.Name], want)
	})
	if err == nil {
		return nil
	}
	return &api.Error{
		Code:    api.CodeFailed,
		Message: fmt.Sprintf("user %s is recorded, but etcd does not know it yet: %v", u.Name, err),
		Hint:    "CKE goes on trying; ckecli status tells what holds it up",
	}
}

func (b backend) Members(ctx context.Context, name string) ([]cluster.Member, error) {
	v, err := b.view(ctx, name)
	if err != nil {
		return nil, err
	}
	if !v.State.Etcd.Asked {
		return nil, api.Refused("no member can be asked: "+v.State.Etcd.Err, "ckecli status tells what is wrong")
	}
	return v.State.Etcd.Members, nil
}

// Snapshot streams from a follower where there is one: the leader has enough to do.
func (b backend) Snapshot(ctx context.Context, name string) (io.ReadCloser, int64, error) {
	c, err := b.founded(ctx, name)
	if err != nil {
		return nil, 0, err
	}
	v, err := firstView(ctx, c.loop)
	if err != nil {
		return nil, 0, err
	}
	var from etcd.Endpoint
	for _, m := range v.State.Etcd.HealthyVoters() {
		if ep, ok := etcd.Of(v.Wanted.Nodes(), m.PeerURL); ok && (from == "" || !m.Leader) {
			from = ep
		}
	}
	if from == "" {
		return nil, 0, api.Refused("no member serves that a snapshot could be taken from", "ckecli status tells what is wrong")
	}
	return c.etcd.Snapshot(ctx, from)
}
