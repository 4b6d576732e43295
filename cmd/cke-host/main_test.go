package main

import (
	"strings"
	"testing"
)

func TestArgumentsThatAreRefused(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"none":         {nil, "no command"},
		"unknown":      {[]string{"exec"}, `unknown command "exec"`},
		"unknown flag": {[]string{"serve", "--shell"}, "-shell"},
		"no list":      {[]string{"gateway", "--state", "s"}, "--list"},
		"outside":      {[]string{"gateway", "--listen", "10.0.0.1"}, "loopback"},
		"more":         {[]string{"serve", "x"}, `unexpected argument "x"`},
	} {
		err := run(c.args)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "usage:") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}
