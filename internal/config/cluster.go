package config

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"

	"cke/internal/cluster"
)

// ParseCluster reads a cluster.yml; file is only for messages. The spec has its
// defaults filled in: what is stored says everything, so that a later CKE with
// other defaults changes no running cluster. The error is a *Problems with
// everything that is wrong, including all of Spec.Validate; warnings are
// returned beside it or without it.
func ParseCluster(file string, data []byte) (cluster.Spec, []Problem, error) {
	var spec cluster.Spec
	d := readDocument(file, data, &spec)
	spec = spec.WithDefaults()
	for _, p := range spec.Validate() {
		if !d.doubtful(p.Path) {
			d.addProblem(p)
		}
	}
	warnings, err := split(d.problems)
	if err != nil {
		return cluster.Spec{}, warnings, err
	}
	return spec, warnings, nil
}

// LocateProblems says where in a cluster.yml the problems of its spec lie, such
// as those of Spec.ValidateChange, and parts them into warnings and a *Problems.
func LocateProblems(file string, data []byte, problems []cluster.Problem) (warnings []Problem, err error) {
	d := readDocument(file, data, &cluster.Spec{})
	d.problems = nil
	for _, p := range problems {
		d.addProblem(p)
	}
	return split(d.problems)
}

func (d *document) addProblem(p cluster.Problem) {
	at := d.locate(p.Path)
	d.problems = append(d.problems, Problem{File: d.file, Line: at.line, Column: at.column, Message: p.Message, Warning: p.Warning})
}

// doubtful: the finding at path is about a value that could not be read, or
// counts control-plane nodes where one of these could not be read.
func (d *document) doubtful(path string) bool {
	if d.unknown(path) {
		return true
	}
	if path != "nodes" && path != "etcd.members" {
		return false
	}
	for f := range d.failed {
		if f == "nodes" || strings.HasPrefix(f, "nodes[") && (strings.HasSuffix(f, "]") || strings.HasSuffix(f, ".control_plane")) {
			return true
		}
	}
	return false
}

// MarshalCluster writes the cluster.yml that ParseCluster reads back to the
// same spec, defaults written out.
func MarshalCluster(spec cluster.Spec) ([]byte, error) {
	out, err := yaml.Dump(spec.WithDefaults())
	if err != nil {
		return nil, fmt.Errorf("write cluster.yml: %w", err)
	}
	return out, nil
}
