package jwt

import (
	"encoding/json"
	"math"
	"slices"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/jws"
)

// recent checks that who the token is about has logged in at the issuer within a
// time; 0: any.
func recent(c jws.Claims, most, skew time.Duration, now time.Time) error {
	if most == 0 {
		return nil
	}
	at, err := c.Moment("auth_time")
	switch {
	case err != nil:
		return err
	case at.IsZero():
		return wrong("it has no auth_time")
	case now.Sub(at) > most+jws.Leeway(skew, jws.UsualSkew):
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
			return ok && too && api.Glob(pattern, text)
		})
	})
}

// bound checks that every claim a role names has one of the values that it names.
func bound(c jws.Claims, wanted map[string]any, globs bool) error {
	for name, value := range wanted {
		have, ok := listed(c.At(name))
		want, ok2 := listed(value)
		if !ok || !ok2 || !meets(have, want, globs) {
			return wrong("a claim is not as the role wants it")
		}
	}
	return nil
}
