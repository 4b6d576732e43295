package units

import (
	"math"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseDuration(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"0": 0, "-0": 0, "0s": 0, "0d": 0, "0y": 0, "-0h": 0,
		"10y": 10 * year, "30d": 30 * day, "2w": 14 * day, "24h": day,
		"1y2w3d4h5m6s":                year + 17*day + 4*time.Hour + 5*time.Minute + 6*time.Second,
		"87600h":                      10 * year,
		"010d":                        10 * day, // never octal
		"08d":                         8 * day,
		"1.5h":                        90 * time.Minute,
		"1d0.5s":                      day + 500*time.Millisecond,
		"1s1ms1us1ns":                 time.Second + time.Millisecond + time.Microsecond + 1,
		"3µs":                         3 * time.Microsecond,
		"3μs":                         3 * time.Microsecond,
		"-1d12h":                      -36 * time.Hour,
		"292y":                        292 * year,
		"-106751d23h47m16.854775808s": math.MinInt64,
		"106751d23h47m16.854775807s":  math.MaxInt64,
	} {
		got, err := ParseDuration(in)
		if err != nil || got.Std() != want {
			t.Errorf("ParseDuration(%q) = %v, %v; want %v", in, got.Std(), err, want)
		}
	}
}

func TestParseDurationRefuses(t *testing.T) {
	for _, in := range []string{
		"", "-", "+", "--1h", "+1h", "-+1h", "x", "1x", "h", "y", ".", ".5h", "1.h", "1.5d", "1.5y",
		"10 y", " 1h", "1h ", "1h 1m", "1h1y", "1d1y", "1m1h", "1h1h", "1d1d", "1d0", "1y0", "0h0",
		"1d-1h", "1d+1h", "5", "10", "0x10h", "1_000h", "1e3h", "1H", "1D", "1mo", "inf", "NaN", "\x00", "1h\n", "١h",
	} {
		got, err := ParseDuration(in)
		if err == nil || !strings.Contains(err.Error(), "is not a duration") {
			t.Errorf("ParseDuration(%q) = %v, %v; want it refused as not a duration", in, got, err)
		}
	}
}

func TestParseDurationOutOfRange(t *testing.T) {
	for _, in := range []string{
		"293y", "292y172d", "15251w", "106752d", "9999999999999999999999y", "-9999999999999999999999d",
		"2562048h", "-2562048h", "106751d23h47m16.854775808s", "-106751d23h47m16.854775809s",
		"292y2562047h", strings.Repeat("9", 400) + "h",
	} {
		got, err := ParseDuration(in)
		if err == nil || !strings.Contains(err.Error(), "is out of range") {
			t.Errorf("ParseDuration(%q) = %v, %v; want it out of range", in, got, err)
		}
		if err != nil && len(err.Error()) > 200 {
			t.Errorf("ParseDuration of %d bytes answers with %d bytes", len(in), len(err.Error()))
		}
	}
}

func TestDurationString(t *testing.T) {
	for in, want := range map[time.Duration]string{
		0: "0s", 10 * year: "10y", 30 * day: "30d", day: "1d", 36 * time.Hour: "1d12h", 2 * time.Hour: "2h",
		90 * time.Second: "1m30s", -5 * time.Minute: "-5m", 1: "1ns", 1500 * time.Microsecond: "1.5ms",
		math.MinInt64: "-292y171d23h47m16.854775808s",
	} {
		if got := Duration(in).String(); got != want {
			t.Errorf("Duration(%v) prints %q, want %q", in, got, want)
		}
	}
}

func TestDurationRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Duration(rapid.OneOf(
			rapid.Int64(), rapid.Int64Range(-int64(year), int64(year)),
			rapid.SampledFrom([]int64{math.MinInt64, math.MinInt64 + 1, math.MaxInt64}),
		).Draw(t, "nanoseconds"))
		text, err := want.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var got Duration
		if err := got.UnmarshalText(text); err != nil || got != want {
			t.Fatalf("%d prints %q and reads back as %d, %v", want, text, got, err)
		}
	})
}

// Whatever Go itself writes must be readable, so that `-ttl=24h0m0s` works.
func TestParseDurationReadsGo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := time.Duration(rapid.Int64().Draw(t, "nanoseconds"))
		if got, err := ParseDuration(want.String()); err != nil || got.Std() != want {
			t.Fatalf("%q reads as %v, %v", want.String(), got.Std(), err)
		}
	})
}

// Two spellings never read as values of the wrong order, and nothing panics.
func TestParseDurationAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringOfN(rapid.RuneFrom([]rune("0123456789.-+ ywdhmsnuµx")), 0, 12, -1).Draw(t, "text")
		d, err := ParseDuration(s)
		if err != nil {
			return
		}
		if d < 0 && !strings.HasPrefix(s, "-") {
			t.Fatalf("%q reads as negative %v", s, d)
		}
		if back, err := ParseDuration(d.String()); err != nil || back != d {
			t.Fatalf("%q reads as %v, which reads as %v, %v", s, d, back, err)
		}
	})
}
