package policy

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// sameMeaning says whether a handler that decodes leniently could take two
// loosely folded texts for one truth value, number or span of time.
func sameMeaning(a, b string) bool {
	if sameBool(a, b) {
		return true
	}
	return hasDigit(a) && hasDigit(b) && (sameNumber(a, b) || sameSpan(a, b))
}

// hasDigit tells most texts from numbers without the cost of failing to read
// one.
func hasDigit(s string) bool { return strings.ContainsAny(s, "0123456789") }

func sameBool(a, b string) bool {
	x, err := strconv.ParseBool(a)
	if err != nil {
		return false
	}
	y, err := strconv.ParseBool(b)
	return err == nil && x == y
}

// sameNumber compares each reading of one text with each of the other. What
// only rounding makes equal is equal.
func sameNumber(a, b string) bool {
	for _, x := range readings(a) {
		for _, y := range readings(b) {
			if x == y {
				return true
			}
		}
	}
	return false
}

// readings are the finite numbers that a text can be taken for: a decimal, or
// an integer with a prefix for its base, of which a leading zero is one.
func readings(s string) []float64 {
	var out []float64
	if f, err := strconv.ParseFloat(s, 64); err == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
		out = append(out, f)
	}
	if n, err := strconv.ParseInt(s, 0, 64); err == nil {
		out = append(out, float64(n))
	}
	return out
}

func sameSpan(a, b string) bool {
	x, ok := span(a)
	if !ok {
		return false
	}
	y, ok := span(b)
	return ok && x == y
}

// span reads what handlers take for a span of time: seconds or days, either
// with a fraction, a Go duration, or days followed by one. Signs are taken.
func span(s string) (time.Duration, bool) {
	if seconds, err := strconv.ParseFloat(s, 64); err == nil {
		return scaled(seconds, time.Second)
	}
	count, rest, found := strings.Cut(s, "d")
	if !found {
		d, err := time.ParseDuration(s)
		return d, err == nil
	}
	n, err := strconv.ParseFloat(count, 64)
	if err != nil {
		return 0, false
	}
	days, ok := scaled(n, 24*time.Hour)
	if !ok || rest == "" {
		return days, ok
	}
	d, err := time.ParseDuration(rest)
	return days + d, err == nil
}

func scaled(n float64, unit time.Duration) (time.Duration, bool) {
	ns := n * float64(unit)
	return time.Duration(ns), math.Abs(ns) < math.MaxInt64
}
