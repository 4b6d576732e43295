package units

import "testing"

func TestPercent(t *testing.T) {
	for text, want := range map[string]Percent{"0%": 0, "45%": 45, "100%": 100} {
		if got, err := ParsePercent(text); err != nil || got != want || got.String() != text {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "45", "%", "101%", "-1%", "4.5%", "0.45", "45 %", "+4%"} {
		if got, err := ParsePercent(text); err == nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
	if got := Percent(45).Of(200); got != 90 {
		t.Errorf("45%% of 200 is %v", got)
	}
}
