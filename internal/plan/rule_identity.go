package plan

import "fmt"

// ruleIdentity refuses to act on a cluster that is not the recorded one.
func ruleIdentity(in input) verdict {
	e, want := in.st.Etcd, in.st.Bootstrap.ClusterID
	if e.Mixed != "" {
		return verdict{stop: true, reasons: []Reason{{
			Level: Blocked, Rule: "clustersAreMixed",
			Text: fmt.Sprintf("%s; %s was bootstrapped as %s", e.Mixed, in.spec.Name, want),
			Hint: "nothing is touched; stop the member that does not belong, and keep its data",
		}}}
	}
	if !e.Asked || e.ClusterID == 0 || e.ClusterID == want {
		return verdict{}
	}
	return verdict{stop: true, reasons: []Reason{{
		Level: Blocked, Rule: "clusterIsAnother",
		Text: fmt.Sprintf("the members belong to cluster %s, but %s was bootstrapped as %s", e.ClusterID, in.spec.Name, want),
		Hint: "nothing is touched; find out who founded the other cluster on these addresses",
	}}}
}
