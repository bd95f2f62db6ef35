package token

import (
	"fmt"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

// terms are what a token's lifetime is resolved from.
type terms struct {
	Limits                 // of the mount
	asked    time.Duration // by this request; 0: nothing
	usual    time.Duration // what it was made or last renewed with; 0: the mount's default
	period   time.Duration // 0: not periodic
	roleMax  time.Duration // lowers the mount's maximum; 0: does not
	explicit time.Duration // bound on the whole life, of a periodic token too; 0: none
	issued   time.Time
	nowIs    time.Time
	warn     func(string)
}

// resolve is how long the token lives from now: always more than 0, and never
// beyond the moment of issue plus the maximum that applies. A periodic token
// lives for its period each time and is bounded by an explicit maximum alone.
func (t terms) resolve() (time.Duration, error) {
	limit := t.Max
	for _, lower := range []time.Duration{t.roleMax, t.explicit} {
		if lower > 0 {
			limit = min(limit, lower)
		}
	}
	if limit <= 0 {
		return 0, api.Errorf(api.Invalid, "max TTL must be greater than zero")
	}
	if t.period > 0 {
		return t.periodic(limit)
	}
	return t.bounded(t.wanted(), limit)
}

func (t terms) wanted() time.Duration {
	switch {
	case t.asked > 0:
		return t.asked
	case t.usual > 0:
		return t.usual
	}
	return t.Default
}

func (t terms) periodic(limit time.Duration) (time.Duration, error) {
	ttl := t.period
	if ttl > limit {
		t.tell(fmt.Sprintf("period of %q exceeded the effective max_ttl of %q; period value is capped accordingly", human(ttl), human(limit)))
		ttl = limit
	}
	if t.explicit > 0 {
		return t.bounded(ttl, t.explicit)
	}
	return ttl, nil
}

// bounded is ttl, or what is left until the limit after issue.
func (t terms) bounded(ttl, limit time.Duration) (time.Duration, error) {
	left := t.issued.Add(limit).Sub(t.nowIs)
	if left <= 0 {
		return 0, api.Errorf(api.Invalid, "past the max TTL, cannot renew")
	}
	if ttl > left {
		t.tell(fmt.Sprintf("TTL of %q exceeded the effective max_ttl of %q; TTL value is capped accordingly", human(ttl), human(left)))
		ttl = left
	}
	return ttl, nil
}

func (t terms) tell(message string) {
	if t.warn != nil {
		t.warn(message)
	}
}

// human is a duration in whole seconds without its zero parts.
func human(d time.Duration) string {
	s := d.Round(time.Second).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// lesser is the smaller of two bounds, where 0 is none.
func lesser(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
