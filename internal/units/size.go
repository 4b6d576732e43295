package units

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes, read and written as "8GiB", "512MiB" or "100".
type Size int64

var sizes = []struct {
	name string
	size int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3}, {"B", 1},
}

// ParseSize reads a whole number with a binary (KiB … TiB) or decimal (KB … TB)
// unit, or plain bytes.
func ParseSize(s string) (Size, error) {
	num, unit := s, int64(1)
	for _, u := range sizes {
		if strings.HasSuffix(s, u.name) {
			num, unit = strings.TrimSpace(strings.TrimSuffix(s, u.name)), u.size
			break
		}
	}
	n, err := strconv.ParseInt(num, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is not a size; write it like 512MiB or 8GiB", s)
	}
	if n > math.MaxInt64/unit {
		return 0, fmt.Errorf("size %q is out of range", s)
	}
	return Size(n * unit), nil
}

// String writes the largest binary unit that keeps the number whole.
func (s Size) String() string {
	for _, u := range sizes[:4] {
		if s != 0 && int64(s)%u.size == 0 {
			return fmt.Sprintf("%d%s", int64(s)/u.size, u.name)
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// MarshalText writes String.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads ParseSize.
func (s *Size) UnmarshalText(b []byte) (err error) {
	*s, err = ParseSize(string(b))
	return err
}
