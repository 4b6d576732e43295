package units

import (
	"fmt"
	"strconv"
	"strings"
)

// Percent is a whole number of hundredths, written "45%".
type Percent int

// ParsePercent reads "45%", from 0 to 100.
func ParsePercent(s string) (Percent, error) {
	digits, ok := strings.CutSuffix(s, "%")
	n, err := strconv.ParseUint(digits, 10, 8)
	if !ok || err != nil || n > 100 {
		return 0, fmt.Errorf("%.40q is not a percentage; write it like 45%%", s)
	}
	return Percent(n), nil
}

// String is "45%".
func (p Percent) String() string { return strconv.Itoa(int(p)) + "%" }

// Of is so much of n.
func (p Percent) Of(n int64) float64 { return float64(n) * float64(p) / 100 }

// MarshalText writes String.
func (p Percent) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads ParsePercent.
func (p *Percent) UnmarshalText(b []byte) (err error) {
	*p, err = ParsePercent(string(b))
	return err
}
