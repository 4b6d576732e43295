package publish_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestTheAPIServerGoesAndComes(t *testing.T) {
	s := kubernetes(t)
	r := s.publish(t, s.kubeconfig(t, cke), newIssuer(t))
	r.Want(withBundle(three(), shop()))
	r.shows(t, "endpoints", "")
	s.killAPI()
	r.shows(t, "endpoints", "apiServerIsUnreachable")
	r.shows(t, "secret shop/etcd", "apiServerIsUnreachable")
	eventually(t, func() error { // of another object it may be known a moment later
		if p := r.Published(); p.Trouble == "" || len(p.Ready) != 3 {
			return fmt.Errorf("published %+v", p)
		}
		return nil
	})
	r.Want(withBundle(withdrawn(three(), 1), shop()))
	if err := s.startAPI(); err != nil {
		t.Fatal(err)
	}
	s.isReady(t, "cke-etcd", "10.77.0.11 !10.77.0.12 10.77.0.13")
	r.shows(t, "endpoints", "")
	r.shows(t, "secret shop/etcd", "")
	for _, line := range r.recorded() {
		if strings.Contains(line, "refused") {
			t.Errorf("an outage is no line of the history: %q", line)
		}
	}
}

// With the controller manager running there is one slice per family, and no
// other owner.
func TestTheControllerManagerLeavesItAlone(t *testing.T) {
	s := kubernetes(t)
	s.rewrite(t, s.path("kcm.conf"), "{token: kcm-token}")
	kcm, err := s.run("kube-controller-manager", "--kubeconfig="+s.path("kcm.conf"), "--leader-elect=false", "--secure-port=0",
		"--controllers=endpoints-controller,endpointslice-controller,endpointslice-mirroring-controller,garbage-collector-controller")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(kcm) })
	r := s.publish(t, s.kubeconfig(t, cke), newIssuer(t))
	e := three()
	e.Endpoints = append(e.Endpoints, member(4, "2001:db8::4"))
	r.Want(e)
	r.shows(t, "endpoints", "")
	// It works on Services and Endpoints: one without the label is mirrored.
	s.apply(t, "apiVersion: v1\nkind: Service\nmetadata: {name: probe, namespace: kube-system}\nspec: {clusterIP: None, ports: [{port: 1}]}\n"+
		"---\napiVersion: v1\nkind: Endpoints\nmetadata: {name: probe, namespace: kube-system}\n"+
		"subsets: [{addresses: [{ip: 192.0.2.9}], ports: [{port: 1}]}]\n")
	eventually(t, func() error {
		if n := len(s.slices(t, "probe")); n != 1 {
			return fmt.Errorf("%d slices of probe\n%s", n, s.logOf("kube-controller-manager"))
		}
		return nil
	})
	r.Want(withdrawn(e, 0))
	s.isReady(t, "cke-etcd", "!10.77.0.11 10.77.0.12 10.77.0.13")
	s.delete(t, "services", system, "cke-etcd")
	r.shows(t, "endpoints", "")
	s.isReady(t, "cke-etcd", "!10.77.0.11 10.77.0.12 10.77.0.13")
	if got := fmt.Sprint(s.slices(t, "cke-etcd")); got != "[cke-etcd cke-etcd-ipv6]" {
		t.Errorf("slices %s", got)
	}
	s.delete(t, "services", system, "probe")
	s.delete(t, "endpoints", system, "probe")
}

// slices names the slices of a Service.
func (s *server) slices(t *testing.T, service string) []string {
	t.Helper()
	list, err := s.admin.Resource(gvr("endpointslices")).Namespace(system).List(t.Context(),
		metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=" + service})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, o := range list.Items {
		names = append(names, o.GetName())
	}
	return names
}

// The API server's own audit says what was asked: one list and a patch for each
// object, and then nothing but watches, each from where the last one ended.
func TestQuietIsQuiet(t *testing.T) {
	s := kubernetes(t)
	earlier := s.audited(t) // by another run of this
	asked := func() map[string]int {
		got := s.audited(t)
		for verb, n := range earlier {
			got[verb] -= n
		}
		return got
	}
	file := s.kubeconfig(t, "{token: quiet-token}")
	r := s.publish(t, file, newIssuer(t))
	r.Want(withBundle(three(), shop()))
	r.shows(t, "endpoints", "")
	r.shows(t, "secret shop/etcd", "")
	var before map[string]int
	same := 0
	eventually(t, func() error {
		// The ipv6 slice is only looked at. What was not answered at once is asked again.
		now := asked()
		if now["list"] < 5 || now["patch"] < 4 || now["list"] > 10 || now["patch"] > 8 {
			return fmt.Errorf("asked %v, want 5 lists and 4 patches, and no more than each twice", now)
		}
		if same++; now["list"] != before["list"] || now["patch"] != before["patch"] {
			same = 0
		}
		if before = now; same < 25 {
			return fmt.Errorf("asked %v, and %d looks ago something else", now, same)
		}
		return nil
	})
	s.rewrite(t, file, "{token: 'quiet-token'}") // another session, to the same server
	looked := time.NewTimer(12 * time.Second)    // the kubeconfig is looked at
	defer looked.Stop()
	<-looked.C
	r.Want(withBundle(three(), shop())) // the same again
	eventually(t, func() error {        // and the watches end
		got := asked()
		if got["watch"] < 11 || got["list"] != before["list"] || got["patch"] != before["patch"] || len(got) != 3 {
			return fmt.Errorf("asked %v, before %v; want at least 11 watches and nothing else since", got, before)
		}
		return nil
	})
	r.stop()
}

// audited counts the user quiet's requests by verb.
func (s *server) audited(t *testing.T) map[string]int {
	t.Helper()
	f, err := os.Open(s.path("audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := map[string]int{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var e struct{ Verb string }
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		got[e.Verb]++
	}
	return got
}

// An API server that hangs is worse than one that is gone: connections stay, and
// nothing comes.
func TestAHangingAPIServerIsNoticed(t *testing.T) {
	s := kubernetes(t)
	r := s.publish(t, s.kubeconfig(t, cke), newIssuer(t))
	r.Want(three())
	r.shows(t, "endpoints", "")
	if err := s.api.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.api.Process.Signal(syscall.SIGCONT) })
	r.Want(withdrawn(three(), 0)) // never blocks
	r.shows(t, "endpoints", "apiServerIsSlow")
	eventually(t, func() error { // the slices' own write may be given up a moment later than another
		if p := r.Published(); p.Trouble == "" {
			return fmt.Errorf("published %+v", p)
		}
		return nil
	})
	r.Want(withdrawn(three(), 1))
	s.api.Process.Signal(syscall.SIGCONT)
	s.isReady(t, "cke-etcd", "10.77.0.11 !10.77.0.12 10.77.0.13")
	r.shows(t, "endpoints", "")
}

// Nothing of a Publisher runs on: no goroutine, and no connection.
func TestNothingIsLeftRunning(t *testing.T) {
	s := kubernetes(t)
	const reader = "lientConn).readLoop(" // of net/http and of x/net
	before := stacks()
	if !strings.Contains(before, reader) {
		t.Fatalf("the test's own connection is not seen in\n%s", before)
	}
	file := s.kubeconfig(t, cke)
	r := s.publish(t, file, newIssuer(t))
	r.Want(withBundle(three(), shop()))
	r.shows(t, "endpoints", "")
	s.rewrite(t, file, "{token: expired-token}") // a second session
	r.shows(t, "endpoints", "credentialsAreRefused")
	r.stop()
	eventually(t, func() error {
		after := stacks()
		if n := strings.Count(after, "cke/internal/kube."); n > 0 {
			return fmt.Errorf("%d frames of it are left:\n%s", n, after)
		}
		for _, what := range []string{reader, "k8s.io/client-go"} {
			if a, b := strings.Count(after, what), strings.Count(before, what); a > b {
				return fmt.Errorf("%d of %s, before %d:\n%s", a, what, b, after)
			}
		}
		return nil
	})
}

func stacks() string {
	text := make([]byte, 1<<20)
	return string(text[:runtime.Stack(text, true)])
}
