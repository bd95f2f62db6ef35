package api

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a span of time that the wire carries as whole seconds. It is
// read from a number or string of seconds, or from a Go duration with an
// optional day unit ("90s", "1h30m", "30d").
type Duration time.Duration

// Seconds is the span in whole seconds.
func (d Duration) Seconds() int64 { return int64(time.Duration(d) / time.Second) }

// Std is the span as the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// MarshalJSON writes whole seconds.
func (d Duration) MarshalJSON() ([]byte, error) {
	return strconv.AppendInt(nil, d.Seconds(), 10), nil
}

// UnmarshalJSON reads what ParseDuration reads.
func (d *Duration) UnmarshalJSON(b []byte) error {
	s := string(b)
	if len(b) > 0 && b[0] == '"' {
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
	}
	v, err := ParseDuration(s)
	*d = Duration(v)
	return err
}

var errDuration = errors.New("not a duration: give seconds or a text such as 90s, 1h30m or 30d")

// ParseDuration reads whole or fractional seconds ("3600", "1.5"), a Go
// duration, or days ("30d"). The empty text is zero. The error echoes nothing.
func ParseDuration(s string) (time.Duration, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return 0, nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		return scaled(days, 24*time.Hour)
	}
	if c := s[len(s)-1]; c >= '0' && c <= '9' {
		return scaled(s, time.Second)
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, errDuration
	}
	return d, nil
}

func scaled(s string, unit time.Duration) (time.Duration, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		if n > math.MaxInt64/int64(unit) || n < math.MinInt64/int64(unit) {
			return 0, errDuration
		}
		return time.Duration(n) * unit, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.Abs(f*float64(unit)) >= math.MaxInt64 {
		return 0, errDuration
	}
	return time.Duration(f * float64(unit)), nil
}

// Time is a moment that the wire carries as RFC 3339 text with nanoseconds; the
// zero Time is the empty text.
type Time struct{ time.Time }

// MarshalJSON writes RFC 3339 with nanoseconds, or "" for the zero time.
func (t Time) MarshalJSON() ([]byte, error) {
	if t.IsZero() {
		return []byte(`""`), nil
	}
	b := make([]byte, 0, len(time.RFC3339Nano)+2)
	b = append(b, '"')
	b = t.UTC().AppendFormat(b, time.RFC3339Nano)
	return append(b, '"'), nil
}

// UnmarshalJSON reads RFC 3339 text; "" and null are the zero time.
func (t *Time) UnmarshalJSON(b []byte) error {
	if string(b) == `""` || string(b) == "null" {
		*t = Time{}
		return nil
	}
	return t.Time.UnmarshalJSON(b)
}

// Object is a free-form JSON object, kept as the bytes the caller sent. Its
// leaves are secrets: the audit log hashes every one.
type Object []byte

// MarshalJSON is the object itself, or null.
func (o Object) MarshalJSON() ([]byte, error) {
	if len(o) == 0 {
		return []byte("null"), nil
	}
	return o, nil
}

// UnmarshalJSON keeps the bytes.
func (o *Object) UnmarshalJSON(b []byte) error {
	*o = append((*o)[:0], b...)
	return nil
}

// Name is a resource name in a path or field. Its canonical form is lower case;
// the decision and the handler both see that form, so two spellings never name
// two things. Surrounding space is refused.
type Name string
