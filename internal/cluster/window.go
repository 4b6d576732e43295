package cluster

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Window is when routine work that clients may feel is done, in UTC:
//
//	02:00-04:00                      every day
//	Sun 02:00-04:00                  Sundays
//	Mon-Fri 22:00-02:00              beginning on a weekday, ending the day after
//	Sat,Sun 01:00-05:00; Wed 03:00-04:00
//
// Empty is always.
type Window string

// span is one part of a window: on these days, from a time of the day on, for so
// long.
type span struct {
	days []time.Weekday
	from time.Duration
	long time.Duration
}

var clockTimes = regexp.MustCompile(`^([01][0-9]|2[0-3]):([0-5][0-9])-([01][0-9]|2[0-3]):([0-5][0-9])$`)

// Check says what is wrong with how the window is written.
func (w Window) Check() error {
	_, err := w.spans()
	return err
}

// Open says whether an instant is within the window. One that cannot be read is
// never open.
func (w Window) Open(t time.Time) bool {
	spans, err := w.spans()
	if w == "" || err != nil {
		return w == ""
	}
	return slices.ContainsFunc(spans, func(s span) bool { return s.holds(t.UTC()) })
}

// Next is when the window opens next, and t itself while it is open.
func (w Window) Next(t time.Time) time.Time {
	t = t.UTC()
	spans, err := w.spans()
	if w == "" || err != nil || w.Open(t) {
		return t
	}
	midnight := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
	var first time.Time
	for day := range 8 {
		for _, s := range spans {
			at := midnight.AddDate(0, 0, day).Add(s.from)
			if slices.Contains(s.days, at.Weekday()) && at.After(t) && (first.IsZero() || at.Before(first)) {
				first = at
			}
		}
	}
	return first
}

// holds looks at the span that began today and at the one from yesterday.
func (s span) holds(t time.Time) bool {
	midnight := time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
	for _, day := range []int{-1, 0} {
		at := midnight.AddDate(0, 0, day).Add(s.from)
		if slices.Contains(s.days, at.Weekday()) && !t.Before(at) && t.Before(at.Add(s.long)) {
			return true
		}
	}
	return false
}

func (w Window) spans() ([]span, error) {
	if w == "" {
		return nil, nil
	}
	var all []span
	for part := range strings.SplitSeq(string(w), ";") {
		s, err := parseSpan(strings.Fields(part))
		if err != nil {
			return nil, fmt.Errorf("%.80q is not a window such as \"Sun 02:00-04:00\": %w", string(w), err)
		}
		all = append(all, s)
	}
	return all, nil
}

func parseSpan(words []string) (span, error) {
	var s span
	var err error
	switch len(words) {
	case 1:
		for d := time.Sunday; d <= time.Saturday; d++ {
			s.days = append(s.days, d)
		}
	case 2:
		if s.days, err = parseDays(words[0]); err != nil {
			return s, err
		}
	default:
		return s, fmt.Errorf("each part is days, left out for every day, and HH:MM-HH:MM")
	}
	m := clockTimes.FindStringSubmatch(words[len(words)-1])
	if m == nil {
		return s, fmt.Errorf("%.20q is not HH:MM-HH:MM", words[len(words)-1])
	}
	var n [4]int
	for i := range n {
		n[i], _ = strconv.Atoi(m[i+1]) // two digits
	}
	s.from = time.Duration(n[0])*time.Hour + time.Duration(n[1])*time.Minute
	s.long = time.Duration(n[2])*time.Hour + time.Duration(n[3])*time.Minute - s.from
	if s.long <= 0 { // over midnight
		s.long += 24 * time.Hour
	}
	return s, nil
}

// parseDays reads "Sun", "Mon-Fri" and lists of both.
func parseDays(text string) ([]time.Weekday, error) {
	var days []time.Weekday
	for part := range strings.SplitSeq(text, ",") {
		first, last, isRange := strings.Cut(part, "-")
		from, err := parseDay(first)
		if err != nil {
			return nil, err
		}
		to := from
		if isRange {
			if to, err = parseDay(last); err != nil {
				return nil, err
			}
		}
		for d := from; ; d = (d + 1) % 7 {
			days = append(days, d)
			if d == to {
				break
			}
		}
	}
	return days, nil
}

func parseDay(text string) (time.Weekday, error) {
	for d := time.Sunday; d <= time.Saturday; d++ {
		if d.String()[:3] == text {
			return d, nil
		}
	}
	return 0, fmt.Errorf("%.20q is not a day: Mon, Tue, Wed, Thu, Fri, Sat or Sun", text)
}
