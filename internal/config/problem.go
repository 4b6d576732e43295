package config

import (
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong in a file, or a warning.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`   // from 1
	Column  int    `json:"column"` // from 1, in characters
	Message string `json:"message"`
	Warning bool   `json:"warning,omitempty"`
}

// String is "cluster.yml:3:5: " and the message, as compilers print it.
func (p Problem) String() string {
	kind := ""
	if p.Warning {
		kind = "warning: "
	}
	return fmt.Sprintf("%s:%d:%d: %s%s", p.File, p.Line, p.Column, kind, p.Message)
}

// Problems is the error of a file that cannot be used: all that is wrong with
// it, in the order of the file, warnings not included.
type Problems struct {
	List []Problem
}

// maxPrinted bounds what Error prints; a file that is not meant for CKE at all
// has a problem on each line.
const maxPrinted = 50

// Error prints one problem a line.
func (p *Problems) Error() string {
	var b strings.Builder
	for i, q := range p.List {
		if i == maxPrinted {
			fmt.Fprintf(&b, "\n%s: and %d problems more", q.File, len(p.List)-i)
			break
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(q.String())
	}
	return b.String()
}

// split sorts problems by position and parts warnings from errors. The error is
// nil or a *Problems.
func split(all []Problem) (warnings []Problem, err error) {
	slices.SortStableFunc(all, func(a, b Problem) int {
		return slices.Compare([]int{a.Line, a.Column}, []int{b.Line, b.Column})
	})
	var errs []Problem
	for _, p := range all {
		if p.Warning {
			warnings = append(warnings, p)
		} else {
			errs = append(errs, p)
		}
	}
	if len(errs) > 0 {
		return warnings, &Problems{List: errs}
	}
	return warnings, nil
}
