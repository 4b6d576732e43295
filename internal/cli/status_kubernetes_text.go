package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"cke/internal/api"
	"cke/internal/cluster"
)

// gatewaysText is a line for each machine with a gateway, and more of one that
// does not run.
func gatewaysText(nodes []api.NodeStatus) string {
	rows := [][]string{{"GATEWAY", "STATE", "CONNECTIONS", "LEADS TO"}}
	ended := ""
	for _, n := range nodes {
		g := n.Gateway
		if g == nil {
			continue
		}
		count := 0
		for _, c := range g.Connections {
			count += c
		}
		rows = append(rows, []string{string(n.Hostname), gatewayState(*g), strconv.Itoa(count), upstreamsText(g.Gateway.Upstreams)})
		if g.Exit != "" {
			ended += wrap("its gateway ended: "+g.Exit, string(n.Hostname)+": ", "  ")
		}
	}
	if len(rows) == 1 {
		return ""
	}
	return "\n" + table(rows) + ended
}

func gatewayState(g cluster.GatewayState) string {
	switch {
	case !g.Running:
		return "DOWN"
	case g.Outdated:
		return "OUTDATED"
	case !g.Applied:
		return "old list"
	default:
		return "ok"
	}
}

func upstreamsText(upstreams []cluster.Upstream) string {
	var names []string
	for _, u := range upstreams {
		name := string(u.Node)
		switch {
		case u.Restarting:
			name += " (restarting)"
		case u.Draining:
			name += " (draining)"
		}
		names = append(names, name)
	}
	return orDash(strings.Join(names, ", "))
}

// kubernetesText says what Kubernetes is told: in one line while all is well.
func kubernetesText(k *api.KubernetesStatus) string {
	if k == nil {
		return ""
	}
	bad := slices.DeleteFunc(slices.Clone(k.Conditions), func(c cluster.Condition) bool { return c.OK })
	ready, secrets := 0, 0
	for _, c := range k.Conditions {
		if strings.HasPrefix(c.Subject, api.SecretSubjects) {
			secrets++
		}
	}
	for _, e := range k.Endpoints {
		if e.Ready {
			ready++
		}
	}
	switch {
	case len(k.Conditions) == 0:
		return "\nkubernetes was not told of the members yet\n"
	case len(bad) == 0 && ready == len(k.Endpoints):
		text := fmt.Sprintf("\nkubernetes is told of %d members", ready)
		if secrets > 0 {
			text += fmt.Sprintf(", and has %d Secrets of cke", secrets)
		}
		return text + "\n"
	}
	rows := [][]string{{"ENDPOINT", "ADDRESS", "STATE"}}
	for _, e := range k.Endpoints {
		rows = append(rows, []string{string(e.Node), e.Address.String(), endpointState(e)})
	}
	text := "\nkubernetes\n" + table(rows)
	for _, c := range bad {
		text += wrap(fmt.Sprintf("%s: %s (%s), since %s", c.Subject, c.Text, c.Rule, c.Since.UTC().Format(time.RFC3339)), "- ", "  ")
		if c.Hint != "" {
			text += wrap(c.Hint, "    hint: ", "    ")
		}
	}
	return text
}

func endpointState(e cluster.Endpoint) string {
	switch {
	case e.Terminating && e.Serving:
		return "terminating, serves"
	case e.Terminating:
		return "terminating"
	case e.Ready:
		return "ready"
	case e.Serving:
		return "serves, not ready"
	default:
		return "NOT READY"
	}
}
