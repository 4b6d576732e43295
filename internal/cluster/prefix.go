package cluster

// PrefixRangeEnd is the end of etcd's half-open range [prefix, end) that holds
// exactly the keys with this prefix: the last byte that can be is incremented
// and the rest dropped; a prefix of 0xff bytes, or none, has no end, which etcd
// writes as "\x00" (clientv3.GetPrefixRangeEnd).
func PrefixRangeEnd(prefix string) string {
	b := []byte(prefix)
	for i := len(b) - 1; i >= 0; i-- {
		if b[i] < 0xff {
			b[i]++
			return string(b[:i+1])
		}
	}
	return "\x00"
}

// RangesOverlap says whether two of etcd's ranges share a key. An empty end is
// the single key; "\x00" is everything from the key on.
func RangesOverlap(key1, end1, key2, end2 string) bool {
	return beginsBefore(key1, end2, key2) && beginsBefore(key2, end1, key1)
}

// beginsBefore: the key lies before the end of the range that begins at from.
func beginsBefore(key, end, from string) bool {
	switch end {
	case "":
		return key <= from
	case "\x00":
		return true
	default:
		return key < end
	}
}
