package units

import (
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseSize(t *testing.T) {
	for in, want := range map[string]Size{
		"0": 0, "100": 100, "100B": 100, "010": 10, "1KiB": 1024, "1KB": 1000, "512MiB": 512 << 20, "8GiB": 8 << 30, "8 GiB": 8 << 30,
		"2TiB": 2 << 40, "1TB": 1e12, "3MB": 3e6, "4GB": 4e9, "9223372036854775807": math.MaxInt64, "8388607TiB": 8388607 << 40,
	} {
		if got, err := ParseSize(in); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v; want %d", in, got, err, want)
		}
	}
}

func TestParseSizeRefuses(t *testing.T) {
	for in, why := range map[string]string{
		"": "is not a size", "-": "is not a size", "-1": "is not a size", "-0": "is not a size", "+5": "is not a size", "+5GiB": "is not a size",
		"GiB": "is not a size", "B": "is not a size", "1.5GiB": "is not a size", "8G": "is not a size", "8Gi": "is not a size", "8gib": "is not a size",
		"8  GiB": "is not a size", " 8GiB": "is not a size", "8GiB ": "is not a size", "8 ": "is not a size", "8GiBB": "is not a size", "0x10": "is not a size",
		"1_000": "is not a size", "1e3": "is not a size", "8GiB\n": "is not a size", "٨": "is not a size",
		"9223372036854775808": "is out of range", "8388608TiB": "is out of range", "99999999999999999999999KB": "is out of range",
	} {
		if got, err := ParseSize(in); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("ParseSize(%q) = %d, %v; want %q", in, got, err, why)
		}
	}
}

func TestSizeString(t *testing.T) {
	for in, want := range map[Size]string{
		0: "0", 1: "1", 1000: "1000", 1024: "1KiB", 1536: "1536", 8 << 30: "8GiB", 1025 << 30: "1025GiB", 1 << 40: "1TiB",
	} {
		if got := in.String(); got != want {
			t.Errorf("Size(%d) prints %q, want %q", in, got, want)
		}
	}
}

func TestSizeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		unit := rapid.SampledFrom(sizeUnits()).Draw(t, "unit").size
		want := Size(rapid.Int64Range(0, math.MaxInt64/unit).Draw(t, "count") * unit)
		text, err := want.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var got Size
		if err := got.UnmarshalText(text); err != nil || got != want {
			t.Fatalf("%d prints %q and reads back as %d, %v", want, text, got, err)
		}
	})
}
