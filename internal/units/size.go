package units

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
)

// Size is a number of bytes, read and written as "8GiB", "512MiB" or "100".
type Size int64

type sizeUnit struct {
	name string
	size int64
}

func binaryUnits() []sizeUnit {
	return []sizeUnit{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}
}

func sizeUnits() []sizeUnit {
	return append(binaryUnits(),
		sizeUnit{"TB", 1e12}, sizeUnit{"GB", 1e9}, sizeUnit{"MB", 1e6}, sizeUnit{"KB", 1e3},
		sizeUnit{"B", 1}, sizeUnit{"", 1})
}

var sizeForm = regexp.MustCompile(`^([0-9]+)(?: ?([A-Za-z]+))?$`)

// ParseSize reads a whole number of bytes with a binary (KiB … TiB) or decimal
// (KB … TB) unit, one space between them allowed, or plain bytes.
func ParseSize(s string) (Size, error) {
	part := sizeForm.FindStringSubmatch(s)
	if part == nil {
		return 0, badSize(s)
	}
	for _, u := range sizeUnits() {
		if u.name != part[2] {
			continue
		}
		n, err := strconv.ParseInt(part[1], 10, 64)
		if err != nil || n > math.MaxInt64/u.size {
			return 0, fmt.Errorf("size %.40q is out of range", s)
		}
		return Size(n * u.size), nil
	}
	return 0, badSize(s)
}

func badSize(s string) error {
	return fmt.Errorf("%.40q is not a size; write it like 512MiB or 8GiB", s)
}

// String writes the largest binary unit that keeps the number whole.
func (s Size) String() string {
	for _, u := range binaryUnits() {
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
