package api

import "cke/internal/cluster"

// badWhy refuses a reason that would do more to a terminal than be read on it. It is
// here, and not in ckecli, because anybody may call.
func badWhy(why string) error {
	if bad := cluster.BadWhy(why); bad != "" {
		return Invalid("why: "+bad, "nothing was changed; give the reason as one line of text")
	}
	return nil
}
