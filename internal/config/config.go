// Package config reads the two files people write: cluster.yml, which says what
// a cluster should be, and config.yml, which says how the daemon runs and where
// ckecli finds it. Reading is strict. Every problem of a file is told at once,
// each with its line and column; nothing is ever guessed or ignored. No input,
// however broken, makes it panic.
package config
