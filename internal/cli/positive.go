package cli

import (
	"errors"
	"strconv"

	"cke/internal/units"
)

// positiveInt is a flag that refuses 0 and less.
type positiveInt int

func (p *positiveInt) String() string { return strconv.Itoa(int(*p)) }
func (p *positiveInt) Type() string   { return "N" }

// Set takes a whole number above 0.
func (p *positiveInt) Set(v string) error {
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		return errors.New("it must be a whole number above 0")
	}
	*p = positiveInt(n)
	return nil
}

// positiveDuration is a flag that refuses 0 and less.
type positiveDuration units.Duration

func (p *positiveDuration) String() string { return units.Duration(*p).String() }
func (p *positiveDuration) Type() string   { return "DURATION" }

// Set takes what units.ParseDuration does, above 0.
func (p *positiveDuration) Set(v string) error {
	d, err := units.ParseDuration(v)
	if err != nil {
		return err
	}
	if d <= 0 {
		return errors.New("it must be longer than 0")
	}
	*p = positiveDuration(d)
	return nil
}
