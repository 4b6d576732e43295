package main

import (
	"strings"
	"testing"
)

func TestOnlyParts(t *testing.T) {
	for list, want := range map[string]string{
		"rolling":         "rolling",
		"rolling,add":     "add,rolling",
		"rolling,rolling": `-only names "rolling" twice`,
		"rolling,rollign": `-only names "rollign", which is no part; the parts are ` + partNames(),
		"":                `-only names "", which is no part; the parts are ` + partNames(),
	} {
		parts, err := onlyParts(labParts(), list)
		var names []string
		for _, p := range parts {
			names = append(names, p.name)
		}
		got := strings.Join(names, ",")
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: %s, want %s", list, got, want)
		}
	}
}
