package kube

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"cke/internal/api"
	"cke/internal/cluster"
	"cke/test/drive"
)

// TestEndpoints: what Kubernetes is told of the members, and that nobody else has
// a say in it.
func TestEndpoints(t *testing.T) {
	e := newEnv(t, 3, onBox)
	e.node = map[int]string{1: ", zone: rack-1, kubernetes_node: worker-1", 2: ", zone: rack-2"}
	e.found(1, 2, 3)
	e.serve(1, 2, 3)
	e.publish(1, 2, 3)
	_, err := e.StartControllerManager()
	e.must(err)
	t.Run("exactly the healthy voters", func(t *testing.T) { e.in(t).areTheVoters() })
	t.Run("no second owner", func(t *testing.T) { e.in(t).haveOneOwner() })
	t.Run("repaired", func(t *testing.T) { e.in(t).areRepaired() })
	t.Run("a member that died", func(t *testing.T) { e.in(t).leaveTheDeadOut() })
	t.Run("kept without a quorum", func(t *testing.T) { e.in(t).areNeverEmptied() })
}

// areTheVoters looks at everything that is published, by kubectl as people do.
func (e *env) areTheVoters() {
	t := e.t
	for what, parts := range map[string][]string{
		"endpoints/cke-etcd": {
			"- hostname: h1\n    ip: 10.77.0.11\n    nodeName: worker-1\n", "ip: 10.77.0.12", "ip: 10.77.0.13",
			"endpointslice.kubernetes.io/skip-mirror: \"true\"", "name: etcd-client-ssl\n    port: 2379\n",
		},
		"endpointslices/cke-etcd": {
			"addressType: IPv4", "kubernetes.io/service-name: cke-etcd", "endpointslice.kubernetes.io/managed-by: ",
			"- 10.77.0.11", "hostname: h1", "nodeName: worker-1", "zone: rack-1", "zone: rack-2", "name: etcd-client-ssl\n  port: 2379\n",
		},
		"service/cke-etcd": {"clusterIP: None", "name: etcd-client-ssl", "port: 2379"},
	} {
		e.Says(what, e.kubectl("-n", "kube-system", "get", what, "-o", "yaml"), parts...)
	}
	all, err := e.slices(e.ctx())
	e.must(err)
	if len(all[0].Endpoints) != 3 {
		t.Errorf("the slice has %d endpoints, want 3", len(all[0].Endpoints))
	}
	for _, ep := range all[0].Endpoints {
		if c := ep.Conditions; !c.Ready || !c.Serving || c.Terminating {
			t.Errorf("conditions of %s: %+v", ep.Hostname, c)
		}
	}
}

// haveOneOwner waits until the controllers have dealt with Endpoints made by hand
// like CKE's, but for the label that keeps them off: CKE's have had as long.
func (e *env) haveOneOwner() {
	e.apply(`apiVersion: v1
kind: Service
metadata: {name: by-hand, namespace: kube-system}
spec: {clusterIP: None, ports: [{name: etcd-client-ssl, port: 2379}]}
---
apiVersion: v1
kind: Endpoints
metadata: {name: by-hand, namespace: kube-system}
subsets: [{addresses: [{ip: 10.77.0.11}], ports: [{name: etcd-client-ssl, port: 2379}]}]
`, "apply", "-f", "-")
	e.Eventually("the controllers mirror what was made by hand", func() error {
		out, err := e.Kubectl(e.ctx(), "", "-n", "kube-system", "get", "endpointslices", "-l", "kubernetes.io/service-name=by-hand", "-o", "name")
		if err == nil && out == "" {
			err = fmt.Errorf("there is no slice yet")
		}
		return err
	})
	all, err := e.slices(e.ctx())
	e.must(err)
	if len(all) != 1 || all[0].Metadata.Name != "cke-etcd" {
		e.t.Errorf("cke-etcd has these slices: %+v", all)
	}
	owners := e.kubectl("-n", "kube-system", "get", "endpointslices", "cke-etcd", "-o", "jsonpath={.metadata.managedFields[*].manager}")
	if owners != "cke" {
		e.t.Errorf("the slice is written by %q, want cke alone", owners)
	}
}

// areRepaired has people edit and delete all of it; what is theirs stays.
func (e *env) areRepaired() {
	t := e.t
	theirs := map[string]string{"team": "shop", "note/of": "theirs"}
	for _, what := range []string{"service", "endpoints", "endpointslice"} {
		e.kubectl("-n", "kube-system", "label", what, "cke-etcd", "team=shop")
		e.kubectl("-n", "kube-system", "annotate", what, "cke-etcd", "note/of=theirs")
	}
	for _, edit := range [][]string{
		{"patch", "endpointslice", "cke-etcd", "--type=json", "-p", `[{"op":"remove","path":"/endpoints/0"}]`},
		{"patch", "endpointslice", "cke-etcd", "--type=merge", "-p", `{"endpoints":[{"addresses":["192.0.2.1"],"conditions":{"ready":true}}]}`},
		{"patch", "endpointslice", "cke-etcd", "--type=merge", "-p", `{"ports":[{"name":"other","port":1,"protocol":"TCP"}]}`},
		{"label", "endpointslice", "cke-etcd", "--overwrite", "endpointslice.kubernetes.io/managed-by=someone"},
		{"patch", "endpoints", "cke-etcd", "--type=merge", "-p", `{"subsets":[]}`},
		{"label", "endpoints", "cke-etcd", "endpointslice.kubernetes.io/skip-mirror-"},
		{"patch", "service", "cke-etcd", "--type=merge", "-p", `{"spec":{"ports":[{"name":"other","port":1}]}}`},
	} {
		e.kubectl(append([]string{"-n", "kube-system"}, edit...)...)
		began := time.Now()
		e.shows(1, 2, 3)
		e.Eventually("all of it is as it was", e.looksRight)
		t.Logf("repaired after %s: %s", time.Since(began).Round(time.Millisecond), strings.Join(edit, " "))
	}
	for _, path := range []string{servicePath, endpointsPath, slicesPath + "/cke-etcd"} {
		var o object
		e.must(e.client.Get(e.ctx(), path, &o))
		if err := o.labelled(theirs); err != nil {
			t.Error(err)
		}
	}
	for _, path := range []string{servicePath, endpointsPath, slicesPath + "/cke-etcd"} {
		var before object
		e.must(e.client.Get(e.ctx(), path, &before))
		e.must(e.client.Delete(e.ctx(), path))
		began := time.Now()
		e.Eventually("it is made again", func() error {
			var now object
			err := e.client.Get(e.ctx(), path, &now)
			if err == nil && now.Metadata.UID == before.Metadata.UID {
				err = fmt.Errorf("it is still the old one")
			}
			return err
		})
		e.Eventually("all of it is as it was", e.looksRight)
		t.Logf("made again after %s: %s", time.Since(began).Round(time.Millisecond), path)
	}
	e.shows(1, 2, 3)
}

// looksRight checks what an edit may have changed besides addresses.
func (e *env) looksRight() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	all, err := e.slices(ctx)
	if err != nil {
		return err
	}
	want := port{"etcd-client-ssl", 2379, "TCP"}
	if len(all) != 1 || len(all[0].Ports) != 1 || all[0].Ports[0] != want {
		return fmt.Errorf("the slices are %+v", all)
	}
	if owner := all[0].Metadata.Labels["endpointslice.kubernetes.io/managed-by"]; owner == "" || owner == "someone" {
		return fmt.Errorf("the slice is managed by %q", owner)
	}
	var old oldEndpoints
	if err := e.client.Get(ctx, endpointsPath, &old); err != nil {
		return err
	}
	if old.Metadata.Labels["endpointslice.kubernetes.io/skip-mirror"] != "true" {
		return fmt.Errorf("the Endpoints have the labels %v", old.Metadata.Labels)
	}
	var service struct {
		Spec struct {
			ClusterIP string `json:"clusterIP"`
			Ports     []port `json:"ports"`
		} `json:"spec"`
	}
	if err := e.client.Get(ctx, servicePath, &service); err != nil {
		return err
	}
	for _, p := range service.Spec.Ports {
		if p == want && service.Spec.ClusterIP == "None" {
			return nil
		}
	}
	return fmt.Errorf("the Service is %+v", service.Spec)
}

// withdrawnWithin is how soon a member that died must not be ready any more. What time
// etcd takes no write beyond an election comes on top of it.
const withdrawnWithin = 5 * time.Second

// leaveTheDeadOut ends a member that cannot start again, and lets it live.
func (e *env) leaveTheDeadOut() {
	w, writes, still := e.watchSlice(), e.watchWrites(1, 2), e.LookOut()
	died, live := e.killForGood(3)
	e.unready("h3")
	known := time.Since(died)
	e.shows(1, 2)
	e.withdrawnInTime(w, writes, still, e.addr(3).String(), died)
	e.t.Logf("cke's status said so after %s", known.Round(time.Millisecond))
	live()
	e.shows(1, 2, 3)
}

// unready waits until the status does not offer a node's member to clients.
func (e *env) unready(node cluster.NodeName) {
	e.t.Helper()
	e.Until(string(node)+" is not offered", func(s api.Status) error {
		if s.Kubernetes == nil {
			return fmt.Errorf("the status says nothing of Kubernetes")
		}
		for _, ep := range s.Kubernetes.Endpoints {
			if ep.Node == node && ep.Ready {
				return fmt.Errorf("it is")
			}
		}
		return nil
	})
}

// withdrawnInTime checks when a watch saw an address not ready any more, and returns
// for how long etcd took no write beyond what an election takes, and the machine stood
// still.
func (e *env) withdrawnInTime(w *sliceWatch, writes *writing, still *drive.Lookout, addr string, died time.Time) (late time.Duration) {
	e.t.Helper()
	var took time.Duration
	e.Eventually("the watch sees it", func() error {
		for _, v := range w.versions() {
			if !slices.Contains(v.ready(), addr) {
				took = v.at.Sub(died)
				return nil
			}
		}
		return fmt.Errorf("it saw %d versions", len(w.versions()))
	})
	late = writes.finish() + still.During(died, time.Now())
	e.t.Logf("not ready after %s; etcd and the machine were late by %s", took.Round(time.Millisecond), late.Round(time.Millisecond))
	if took > withdrawnWithin+late {
		e.t.Errorf("a dead member was ready for %s, want at most %s, and %s for which etcd took no write", took, withdrawnWithin, late)
	}
	return late
}

// killForGood ends a member's process, at the returned moment, and keeps every
// other from starting until the returned function is called.
func (e *env) killForGood(i int) (died time.Time, live func()) {
	e.t.Helper()
	e.sh(i, `d=/run/systemd/system/etcd-main.service.d; mkdir -p $d
printf '[Unit]\nAssertPathExists=/nowhere\n' >$d/dead.conf; systemctl daemon-reload`)
	died = time.Now()
	e.sh(i, "systemctl kill -s KILL etcd-main.service")
	return died, func() { e.sh(i, "rm -r /run/systemd/system/etcd-main.service.d; systemctl daemon-reload") }
}

// areNeverEmptied ends all members and has them come back one by one: in between
// none of them serves, and no version of the slice ever says so.
func (e *env) areNeverEmptied() {
	w := e.watchSlice()
	for i := 1; i <= 3; i++ {
		e.must(e.lab.Machine(i).PowerCut())
	}
	e.Until("cke sees that no member serves", func(s api.Status) error {
		if s.Kubernetes == nil {
			return fmt.Errorf("the status says nothing of Kubernetes")
		}
		for _, ep := range s.Kubernetes.Endpoints {
			if ep.Serving {
				return fmt.Errorf("the member on %s serves", ep.Node)
			}
		}
		return nil
	})
	for i := 1; i <= 3; i++ {
		e.must(e.lab.Machine(i).On())
	}
	e.shows(1, 2, 3)
	for _, v := range w.finish() {
		if len(v.ready()) == 0 {
			e.t.Errorf("a version of the slice, %s, had nobody ready", v.at.Format(time.StampMilli))
		}
	}
}
