// Package units reads and writes the quantities people type: durations that
// know days and years, and sizes in bytes.
package units
