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
