package quota

import (
	"errors"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// away is a role that the auth method cannot look up: its store is away.
const away = "away"

var errAway = errors.New("the auth method's store is away")

// role is how the auth method shows a role.
type role struct {
	Name api.Name `path:"name"`
}

func (s *Store) showRole(_ *api.Call, q *role) (*api.None, error) {
	if q.Name == away {
		return nil, errAway
	}
	return nil, nil
}

// A quota whose role cannot be looked up is refused, and so nothing of it is there: neither a limit that was answered as failed, nor
// room, nor a change of the guard, by which all leases would be counted anew.
func TestQuotaOfARoleThatCannotBeLookedUp(t *testing.T) {
	w := newWorld(t, 1)
	write := func(role string) map[string]error {
		n, at := w.fresh(0), PlaceFields{Path: "auth/in", Role: role}
		_, rate := n.writeRate(w.calls[0], &RateRequest{NameRequest: NameRequest{"q"}, PlaceFields: at, Rate: 1, Interval: api.Duration(time.Second), GroupBy: byIP})
		_, count := n.writeCount(w.calls[0], &CountRequest{NameRequest: NameRequest{"q"}, PlaceFields: at, Max: 1, GroupBy: byNone})
		return map[string]error{"rate limit": rate, "lease count": count}
	}
	rows := func() int {
		es, err := w.data.List(t.Context(), store.Prefix(prefix))
		w.ok(err)
		return len(es)
	}
	for kind, err := range write(away) {
		if !errors.Is(err, errAway) {
			t.Errorf("a %s is answered with %v", kind, err)
		}
	}
	if n := rows(); n != 0 {
		t.Errorf("%d rows were written of quotas that were refused", n)
	}
	for kind, err := range write("ci") {
		if err != nil {
			t.Errorf("a %s of a role that is there: %v", kind, err)
		}
	}
	if rows() == 0 {
		t.Error("nothing is ever written: this shows nothing")
	}
}
