package units

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Duration is a time.Duration that is read and written with days and years:
// "10y", "30d", "1d12h", "87600h". A day is 24 h and a year 365 d: certificates
// and retention are counted, not celebrated.
type Duration time.Duration

const (
	day  = 24 * time.Hour
	year = 365 * day
)

// durationUnits are the units ParseDuration reads, largest first.
func durationUnits() []string {
	return []string{"y", "w", "d", "h", "m", "s", "ms", "us", "ns"}
}

// durationPart is one number with its unit. "µ" has two code points.
var durationPart = regexp.MustCompile(`^([0-9]+)(\.[0-9]+)?(y|w|d|h|ms|m|s|us|µs|μs|ns)`)

// ParseDuration reads "10y", "30d", "2w", "1h30m", or any mix, largest unit
// first and each at most once; hours and below may have a fraction. A minus is
// accepted, so that a caller can say that a value must be positive.
func ParseDuration(s string) (Duration, error) {
	rest, negative := strings.CutPrefix(s, "-")
	if rest == "0" {
		return 0, nil
	}
	if rest == "" {
		return 0, badDuration(s)
	}
	units := durationUnits()
	// The sum is kept negative: the range has one more value below zero.
	var total int64
	for rest != "" {
		part := durationPart.FindStringSubmatch(rest)
		if part == nil {
			return 0, badDuration(s)
		}
		rest = rest[len(part[0]):]
		unit := part[3]
		if strings.HasSuffix(unit, "s") && len(unit) > 2 {
			unit = "us"
		}
		i := slices.Index(units, unit)
		if i < 0 {
			return 0, badDuration(s)
		}
		units = units[i+1:]
		n, err := parsePart(s, part[1], part[2], unit)
		if err != nil {
			return 0, err
		}
		if total < math.MinInt64+n {
			return 0, durationRange(s)
		}
		total -= n
	}
	if negative {
		return Duration(total), nil
	}
	if total == math.MinInt64 {
		return 0, durationRange(s)
	}
	return Duration(-total), nil
}

// parsePart returns the nanoseconds of one number with its unit.
func parsePart(whole, number, fraction, unit string) (int64, error) {
	var size time.Duration
	switch unit {
	case "y":
		size = year
	case "w":
		size = 7 * day
	case "d":
		size = day
	default:
		d, err := time.ParseDuration(number + fraction + unit)
		if err != nil {
			// The form was checked before: only the range is left to be wrong.
			return 0, durationRange(whole)
		}
		return int64(d), nil
	}
	if fraction != "" {
		return 0, badDuration(whole)
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n > math.MaxInt64/int64(size) {
		return 0, durationRange(whole)
	}
	return n * int64(size), nil
}

func badDuration(s string) error {
	return fmt.Errorf("%.40q is not a duration; write it like 90s, 24h, 30d or 10y", s)
}

func durationRange(s string) error {
	return fmt.Errorf("duration %.40q is out of range: the longest is 292y", s)
}

// String writes a form ParseDuration reads back to the same value: whole
// years, days, hours and minutes, then the rest as time.Duration writes it.
func (d Duration) String() string {
	v := time.Duration(d)
	var b strings.Builder
	if v < 0 {
		b.WriteByte('-')
	} else {
		v = -v
	}
	// v is negative from here on: MinInt64 has no positive counterpart.
	start := b.Len()
	for _, u := range []struct {
		name string
		size time.Duration
	}{{"y", year}, {"d", day}, {"h", time.Hour}, {"m", time.Minute}} {
		if n := -(v / u.size); n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.name)
			v %= u.size
		}
	}
	if v != 0 || b.Len() == start {
		b.WriteString((-v).String())
	}
	return b.String()
}

// MarshalText writes String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads ParseDuration.
func (d *Duration) UnmarshalText(b []byte) (err error) {
	*d, err = ParseDuration(string(b))
	return err
}

// Std is the same span as a time.Duration.
func (d Duration) Std() time.Duration { return time.Duration(d) }
