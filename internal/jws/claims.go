package jws

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

// Claims are what a token says, as JSON with numbers as they are written.
type Claims map[string]any

var errClaims = Wrong("what it says is not a JSON object, or names something twice")

// ParseClaims reads an object strictly: names that occur twice, at any level, and
// deep nesting are errors, so that nobody else reads it differently.
func ParseClaims(b []byte) (Claims, error) {
	if b = bytes.TrimSpace(b); len(b) == 0 || b[0] != '{' {
		return nil, errClaims
	}
	if _, err := api.ParseBodyWithin(b, MaxValues); err != nil {
		return nil, errClaims
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var c Claims
	if err := d.Decode(&c); err != nil {
		return nil, errClaims
	}
	return c, nil
}

// At finds a claim by its name, or by a JSON pointer (RFC 6901) when the text
// begins with a slash; nil when it is not there, or null.
func (c Claims) At(where string) any {
	if !strings.HasPrefix(where, "/") {
		return c[where]
	}
	var v any = map[string]any(c)
	for part := range strings.SplitSeq(where[1:], "/") {
		part = strings.ReplaceAll(strings.ReplaceAll(part, "~1", "/"), "~0", "~")
		switch in := v.(type) {
		case map[string]any:
			v = in[part]
		case []any:
			i, ok := index(part, len(in))
			if !ok {
				return nil
			}
			v = in[i]
		default:
			return nil
		}
	}
	return v
}

// index reads an index of a list as RFC 6901 spells it: digits without a leading
// zero.
func index(s string, size int) (int, bool) {
	i, err := strconv.Atoi(s)
	return i, err == nil && i >= 0 && i < size && strconv.Itoa(i) == s
}

// Text is a claim that is a text; empty when it is absent or something else.
func (c Claims) Text(name string) string {
	s, _ := c[name].(string)
	return s
}

// Audiences are whom a token is for (RFC 7519 4.1.3): a text or a list of texts.
func (c Claims) Audiences() ([]string, error) {
	switch v := c["aud"].(type) {
	case nil:
		return nil, nil
	case string:
		return []string{v}, nil
	case []any:
		out := make([]string, 0, len(v))
		for _, a := range v {
			s, ok := a.(string)
			if !ok {
				return nil, Wrong("its aud is not a list of texts")
			}
			out = append(out, s)
		}
		return out, nil
	}
	return nil, Wrong("its aud is neither a text nor a list")
}

// Moment is a claim that is a time, in seconds since 1970 (RFC 7519 2, NumericDate);
// the zero time when it is absent.
func (c Claims) Moment(name string) (time.Time, error) {
	v, there := c[name]
	if !there || v == nil {
		return time.Time{}, nil
	}
	n, ok := v.(json.Number)
	if !ok || len(n) > 32 {
		return time.Time{}, Wrong("its %s is not a time", name)
	}
	f, err := n.Float64()
	if err != nil || math.IsNaN(f) || f <= 0 || f > 1<<37 {
		return time.Time{}, Wrong("its %s is not a time", name)
	}
	whole, part := math.Modf(f)
	return time.Unix(int64(whole), int64(part*1e9)), nil
}

// Leeways are how far clocks may differ, and how long a token lives that does not say;
// 0 stands for the usual, a negative one for none.
type Leeways struct {
	Expiration time.Duration `json:"expiration,omitempty"`
	NotBefore  time.Duration `json:"not_before,omitempty"`
	ClockSkew  time.Duration `json:"skew,omitempty"`
}

const usualLeeway = 150 * time.Second

// UsualSkew is how far the clocks of an issuer and a node may differ where nothing else is said.
const UsualSkew = time.Minute

// Leeway is how far clocks may differ: what was set, or the usual.
func Leeway(set, usual time.Duration) time.Duration {
	switch {
	case set < 0:
		return 0
	case set == 0:
		return usual
	}
	return set
}

// Valid checks a token's times. One that has none at all is refused; what it lacks of iat, nbf and
// exp is reckoned from those that it has.
func (l Leeways) Valid(c Claims, now time.Time) error {
	issued, err := c.Moment("iat")
	if err != nil {
		return err
	}
	notBefore, err := c.Moment("nbf")
	if err != nil {
		return err
	}
	expires, err := c.Moment("exp")
	if err != nil {
		return err
	}
	if issued.IsZero() && notBefore.IsZero() && expires.IsZero() {
		return Wrong("it has none of iat, nbf and exp")
	}
	if expires.IsZero() {
		expires = later(issued, notBefore).Add(Leeway(l.Expiration, usualLeeway))
	}
	if notBefore.IsZero() {
		if notBefore = issued; issued.IsZero() {
			notBefore = expires.Add(-Leeway(l.NotBefore, usualLeeway))
		}
	}
	skew := Leeway(l.ClockSkew, UsualSkew)
	switch {
	case !now.Add(-skew).Before(expires):
		return Wrong("it has expired")
	case now.Add(skew).Before(notBefore):
		return Wrong("it is not valid yet")
	case now.Add(skew).Before(issued):
		return Wrong("it was issued in the future")
	}
	return nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
