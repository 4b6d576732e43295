package history

import "fmt"

// count follows a key's version, which is 0 while the key is not there. Of what was
// answered and not told it is known within bounds only.
type count struct {
	hidden
	revision    int64
	least, most int64
}

// next counts a change, and says what is wrong with it.
func (n *count) next(e Event) string {
	after, upTo := n.revision, e.Revision-1
	n.revision = e.Revision
	if n.deleted(after, upTo) {
		n.least = 0
	}
	if n.put(after, upTo) {
		n.most += n.hidden.most
	}
	if e.Deleted {
		there := n.most > 0
		n.least, n.most = 0, 0
		if !there {
			return fmt.Sprintf("deleted while it was not there: %s", e)
		}
		return ""
	}
	n.least, n.most = n.least+1, n.most+1
	if e.Version == 0 {
		return ""
	}
	wrong := ""
	if e.Version < n.least || e.Version > n.most {
		wrong = fmt.Sprintf("%s has version %d after %d: a change is missing", e, e.Version, n.most-1)
	}
	n.least, n.most = e.Version, e.Version
	return wrong
}
