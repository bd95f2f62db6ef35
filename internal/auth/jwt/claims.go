package jwt

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

// claims are what a token says, as JSON with numbers as they are written.
type claims map[string]any

var errClaims = wrong("what it says is not a JSON object, or names something twice")

// parseClaims reads an object strictly: names that occur twice, at any level, and
// deep nesting are errors, so that nobody else reads it differently.
func parseClaims(b []byte) (claims, error) {
	if b = bytes.TrimSpace(b); len(b) == 0 || b[0] != '{' {
		return nil, errClaims
	}
	if _, err := api.ParseBodyWithin(b, maxValues); err != nil {
		return nil, errClaims
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var c claims
	if err := d.Decode(&c); err != nil {
		return nil, errClaims
	}
	return c, nil
}

// at finds a claim by its name, or by a JSON pointer (RFC 6901) when the text
// begins with a slash; nil when it is not there, or null.
func (c claims) at(where string) any {
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

// text is a claim that is a text; empty when it is absent or something else.
func (c claims) text(name string) string {
	s, _ := c[name].(string)
	return s
}

// audiences are whom a token is for (RFC 7519 4.1.3): a text or a list of texts.
func (c claims) audiences() ([]string, error) {
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
				return nil, wrong("its aud is not a list of texts")
			}
			out = append(out, s)
		}
		return out, nil
	}
	return nil, wrong("its aud is neither a text nor a list")
}

// moment is a claim that is a time, in seconds since 1970 (RFC 7519 2, NumericDate);
// the zero time when it is absent.
func (c claims) moment(name string) (time.Time, error) {
	v, there := c[name]
	if !there || v == nil {
		return time.Time{}, nil
	}
	n, ok := v.(json.Number)
	if !ok || len(n) > 32 {
		return time.Time{}, wrong("its %s is not a time", name)
	}
	f, err := n.Float64()
	if err != nil || math.IsNaN(f) || f <= 0 || f > 1<<37 {
		return time.Time{}, wrong("its %s is not a time", name)
	}
	whole, part := math.Modf(f)
	return time.Unix(int64(whole), int64(part*1e9)), nil
}

// leeways are how far clocks may differ, and how long a token lives that does not say;
// 0 stands for the usual, a negative one for none.
type leeways struct {
	Expiration time.Duration `json:"expiration,omitempty"`
	NotBefore  time.Duration `json:"not_before,omitempty"`
	ClockSkew  time.Duration `json:"skew,omitempty"`
}

// The usual leeways.
const (
	usualLeeway = 150 * time.Second
	usualSkew   = time.Minute
)

func leeway(set, usual time.Duration) time.Duration {
	switch {
	case set < 0:
		return 0
	case set == 0:
		return usual
	}
	return set
}

// valid checks a token's times. One that has none at all is refused; what it lacks of iat, nbf and
// exp is reckoned from those that it has.
func (l leeways) valid(c claims, now time.Time) error {
	issued, err := c.moment("iat")
	if err != nil {
		return err
	}
	notBefore, err := c.moment("nbf")
	if err != nil {
		return err
	}
	expires, err := c.moment("exp")
	if err != nil {
		return err
	}
	if issued.IsZero() && notBefore.IsZero() && expires.IsZero() {
		return wrong("it has none of iat, nbf and exp")
	}
	if expires.IsZero() {
		expires = later(issued, notBefore).Add(leeway(l.Expiration, usualLeeway))
	}
	if notBefore.IsZero() {
		if notBefore = issued; issued.IsZero() {
			notBefore = expires.Add(-leeway(l.NotBefore, usualLeeway))
		}
	}
	skew := leeway(l.ClockSkew, usualSkew)
	switch {
	case !now.Add(-skew).Before(expires):
		return wrong("it has expired")
	case now.Add(skew).Before(notBefore):
		return wrong("it is not valid yet")
	case now.Add(skew).Before(issued):
		return wrong("it was issued in the future")
	}
	return nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// recent checks that who the token is about has logged in at the issuer within a
// time; 0: any.
func (c claims) recent(most, skew time.Duration, now time.Time) error {
	if most == 0 {
		return nil
	}
	at, err := c.moment("auth_time")
	switch {
	case err != nil:
		return err
	case at.IsZero():
		return wrong("it has no auth_time")
	case now.Sub(at) > most+leeway(skew, usualSkew):
		return wrong("the login at the issuer is too long ago")
	}
	return nil
}

// listed is a value as a list; false for what is neither a text, a number, a truth
// value nor a list. Issuers give a single text where there is one alone.
func listed(v any) ([]any, bool) {
	switch v := v.(type) {
	case []any:
		return v, true
	case string, bool, json.Number:
		return []any{v}, true
	}
	return nil, false
}

// same compares two values of claims. Numbers are the same when they are the same
// number: exactly, where both are whole.
func same(a, b any) bool {
	x, isNumber := a.(json.Number)
	y, too := b.(json.Number)
	switch {
	case isNumber != too:
		return false
	case !isNumber:
		return scalar(a) && scalar(b) && a == b
	case x == y:
		return true
	}
	i, err1 := x.Int64()
	j, err2 := y.Int64()
	if err1 == nil && err2 == nil {
		return i == j
	}
	f, err1 := x.Float64()
	g, err2 := y.Float64()
	const exact = 1 << 53 // up to here a float tells whole numbers apart
	return err1 == nil && err2 == nil && f == g && math.Abs(f) < exact
}

// scalar reports whether a value can be compared: a list or an object would panic.
func scalar(v any) bool {
	switch v.(type) {
	case string, bool:
		return true
	}
	return false
}

// meets reports whether one of some values is among those wanted. With globs, * in a
// wanted one stands for any text.
func meets(have, want []any, globs bool) bool {
	return slices.ContainsFunc(want, func(w any) bool {
		return slices.ContainsFunc(have, func(h any) bool {
			if !globs {
				return same(h, w)
			}
			pattern, ok := w.(string)
			text, too := h.(string)
			return ok && too && glob(pattern, text)
		})
	})
}

// glob reports whether a text matches a pattern in which * stands for any text.
func glob(pattern, s string) bool {
	head, rest, found := strings.Cut(pattern, "*")
	if !strings.HasPrefix(s, head) {
		return false
	}
	s = s[len(head):]
	for found {
		pattern = rest
		if head, rest, found = strings.Cut(pattern, "*"); !found {
			return strings.HasSuffix(s, head)
		}
		i := strings.Index(s, head)
		if i < 0 {
			return false
		}
		s = s[i+len(head):]
	}
	return s == ""
}

// bound checks that every claim a role names has one of the values that it names.
func (c claims) bound(wanted map[string]any, globs bool) error {
	for name, value := range wanted {
		have, ok := listed(c.at(name))
		want, ok2 := listed(value)
		if !ok || !ok2 || !meets(have, want, globs) {
			return wrong("a claim is not as the role wants it")
		}
	}
	return nil
}
