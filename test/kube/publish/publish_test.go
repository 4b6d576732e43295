package publish_test

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestObjectsAreAsWanted(t *testing.T) {
	s := kubernetes(t)
	r := s.publish(t, s.kubeconfig(t, "{token: cke-token}"), newIssuer(t))
	if p := r.Published(); p.Trouble == "" || !p.Wanted {
		t.Errorf("published before anything was asked: %+v", p)
	}
	r.Want(withdrawn(three(), 1))
	r.shows(t, "endpoints", "")
	s.isReady(t, "cke-etcd", "10.77.0.11 !10.77.0.12 10.77.0.13")
	o := s.get(t, "endpoints", system, "cke-etcd")
	fmt.Println(o)
	svc := s.get(t, "services", system, "cke-etcd")
	if ip, _, _ := unstructured.NestedString(svc, "spec", "clusterIP"); ip != "None" {
		t.Errorf("service %v", svc)
	}
	eventually(t, func() error {
		if p := r.Published(); p.Trouble != "" || len(p.Ready) != 2 {
			return fmt.Errorf("published %+v", p)
		}
		return nil
	})
	fmt.Println(r.recorded(), r.Conditions())
	if s.ready(t, "cke-etcd-ipv6") != "none" {
		t.Error(errors.New("a slice of a family that nobody has"))
	}
}
