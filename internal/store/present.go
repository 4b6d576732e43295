package store

// Present says whether a data directory holds a store already.
func Present(dir string) (bool, error) { return exists(storeDir(dir)) }
