package store

import (
	"fmt"
	"strings"

	"cke/internal/cluster"
)

// Every key lies under root; so a store may share an etcd with other things.
const (
	root       = "/cke/"
	keySchema  = root + "schema"
	keyStoreID = root + "store-id"
	keySealKey = root + "seal-key"
	keyEpoch   = root + "epoch"
	// keyRestoring is there while a backup is being restored into a shared store.
	keyRestoring = root + "restoring"
	// allLeaders are the daemons that lead or would, each under its lease. They
	// are of the present, and in no backup.
	allLeaders = root + "leaders/"
	// keyLocalMachine is in a shared store only.
	keyLocalMachine = root + "local-machine"

	allHostKeys = root + "host-keys/"
	allClusters = root + "clusters/"
)

func clusterKeys(name string) string  { return allClusters + name + "/" }
func specKey(name string) string      { return clusterKeys(name) + "spec" }
func bootstrapKey(name string) string { return clusterKeys(name) + "bootstrap" }
func pauseKey(name string) string     { return clusterKeys(name) + "pause" }
func userKeys(name string) string     { return clusterKeys(name) + "users/" }
func leavingKeys(name string) string  { return clusterKeys(name) + "leaving/" }
func leftKeys(name string) string     { return clusterKeys(name) + "left/" }
func removedKeys(name string) string  { return clusterKeys(name) + "removed-users/" }
func bundleKeys(name string) string   { return clusterKeys(name) + "bundles/" }
func defragKeys(name string) string   { return clusterKeys(name) + "defrag/" }
func caKeys(name string) string       { return clusterKeys(name) + "ca/" }
func recordKeys(name string) string   { return clusterKeys(name) + "records/" }

func userKey(name, user string) string { return userKeys(name) + user }
func caKey(name, role string) string   { return caKeys(name) + role }

func defragKey(name string, n cluster.NodeName) string { return defragKeys(name) + string(n) }

func removedKey(name, user string) string { return removedKeys(name) + user }

func bundleKey(name, namespace, secret string) string {
	return bundleKeys(name) + namespace + "/" + secret
}

func leavingKey(name string, node cluster.NodeName) string {
	return leavingKeys(name) + string(node)
}

// leftKey holds the address too: another machine may have the name by now.
func leftKey(name string, n cluster.Node) string {
	return leftKeys(name) + string(n.Hostname) + "/" + n.Address.String()
}

// recordKey pads with zeros so that keys sort as numbers do.
func recordKey(name string, seq int64) string {
	return fmt.Sprintf("%s%016d", recordKeys(name), seq)
}

// splitKey takes /cke/clusters/<name>/<kind>[/...] apart.
func splitKey(key string) (name, kind string, ok bool) {
	rest, ok := strings.CutPrefix(key, allClusters)
	if !ok {
		return "", "", false
	}
	name, rest, ok = strings.Cut(rest, "/")
	kind, _, _ = strings.Cut(rest, "/")
	return name, kind, ok
}

// isSealed says whether the value under this key is ciphertext.
func isSealed(key string) bool {
	_, kind, ok := splitKey(key)
	return ok && kind == "ca"
}

// checkName refuses what would reach into another cluster's keys. Whether the
// name is a good one was decided where it came in.
func checkName(what, name string) error {
	if name == "" || strings.ContainsAny(name, "/\x00") {
		return fmt.Errorf("%s name %q cannot be part of a key", what, name)
	}
	return nil
}
