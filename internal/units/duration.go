package units

import (
	"fmt"
	"math"
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

// ParseDuration reads "10y", "30d", "2w", "1h30m", or any mix, largest first.
// Signs are accepted, so that a caller can say that a value must be positive.
func ParseDuration(s string) (Duration, error) {
	rest, sign := s, int64(1)
	if strings.HasPrefix(rest, "-") {
		rest, sign = rest[1:], -1
	}
	if rest == "0" {
		return 0, nil
	}
	var total int64
	for _, u := range []struct {
		name string
		size time.Duration
	}{{"y", year}, {"w", 7 * day}, {"d", day}} {
		i := strings.Index(rest, u.name)
		if i <= 0 || strings.Trim(rest[:i], "0123456789") != "" {
			continue
		}
		var n int64
		if _, err := fmt.Sscan(rest[:i], &n); err != nil || n > math.MaxInt64/int64(u.size) {
			return 0, fmt.Errorf("duration %q is out of range", s)
		}
		total, rest = total+n*int64(u.size), rest[i+1:]
		if total < 0 {
			return 0, fmt.Errorf("duration %q is out of range", s)
		}
	}
	if rest != "" {
		if rest[0] == '-' || rest[0] == '+' {
			return 0, badDuration(s)
		}
		d, err := time.ParseDuration(rest)
		if err != nil {
			return 0, badDuration(s)
		}
		if total += int64(d); total < 0 {
			return 0, fmt.Errorf("duration %q is out of range", s)
		}
	} else if total == 0 && strings.Trim(s, "-0ywd") != "" || s == "" || s == "-" {
		return 0, badDuration(s)
	}
	return Duration(sign * total), nil
}

func badDuration(s string) error {
	return fmt.Errorf("%q is not a duration; write it like 90s, 24h, 30d or 10y", s)
}

// String writes the shortest form ParseDuration reads back.
func (d Duration) String() string {
	v := time.Duration(d)
	if v < 0 && v != math.MinInt64 {
		return "-" + Duration(-v).String()
	}
	var b strings.Builder
	for _, u := range []struct {
		name string
		size time.Duration
	}{{"y", year}, {"d", day}, {"h", time.Hour}, {"m", time.Minute}} {
		if n := v / u.size; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, u.name)
			v -= n * u.size
		}
	}
	if v > 0 || b.Len() == 0 {
		b.WriteString(v.String())
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
