package kube

import (
	"encoding/json"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// carries says whether a live object has everything that an apply configuration
// says. What it has besides (other people's labels, fields with defaults) does
// not count, but a list that CKE owns as a whole must be the same, in any order:
// the API server sorts addresses in its own way.
func carries(live *unstructured.Unstructured, want body) bool {
	if live == nil {
		return false
	}
	// In a Service others may have ports of their own beside CKE's.
	return within(live.Object, map[string]any(want), want["kind"] == "Service")
}

func within(live, want any, shared bool) bool {
	switch want := want.(type) {
	case map[string]any:
		l, ok := live.(map[string]any)
		if !ok {
			return len(want) == 0 && live == nil
		}
		for k, v := range want {
			if !within(l[k], v, shared) {
				return false
			}
		}
		return true
	case []any:
		l, ok := live.([]any)
		if !ok {
			return len(want) == 0 && live == nil
		}
		if !shared {
			return sameList(l, want)
		}
		return !slices.ContainsFunc(want, func(w any) bool {
			return !slices.ContainsFunc(l, func(e any) bool { return within(e, w, true) })
		})
	default:
		return live == want
	}
}

func sameList(live, want []any) bool {
	return len(live) == len(want) && slices.Equal(canonical(live), canonical(want))
}

// canonical is a list's elements as text, in an order of their own; lists in
// them (the addresses of a subset) are ordered as well.
func canonical(list []any) []string {
	out := make([]string, len(list))
	for i, e := range list {
		out[i] = text(e)
	}
	slices.Sort(out)
	return out
}

func text(v any) string {
	switch v := v.(type) {
	case []any:
		return "[" + strings.Join(canonical(v), ",") + "]"
	case map[string]any:
		var b strings.Builder
		for _, k := range sortedKeys(v) {
			b.WriteString(k + ":" + text(v[k]) + ",")
		}
		return "{" + b.String() + "}"
	default:
		raw, err := json.Marshal(v)
		if err != nil {
			return err.Error() // only what JSON gave is compared, so this is none of it
		}
		return string(raw)
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
