package token

import (
	"fmt"
	"slices"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// WrappingPolicy is the one policy of a wrapping token, which stands for an
// answer that is kept for its bearer. No policy of that name can be written and
// nothing else can attach it. Such a token grants nothing by itself: it is shown
// to the endpoints that are about wrapping tokens. It has no parent, no children,
// no leases and no cubbyhole.
const WrappingPolicy = "response-wrapping"

// Wrapping reports whether this is a wrapping token.
func (t *Token) Wrapping() bool { return slices.Contains(t.Policies, WrappingPolicy) }

// maxPolicies is how many policies a token may name: they stand in the answers and
// audit entries about it, and are weighed at each of its requests.
const maxPolicies = 1000

// assignable refuses what a request or an auth method may not attach.
func assignable(names []string) error {
	if len(names) > maxPolicies {
		return &api.Error{Kind: api.Invalid, Message: fmt.Sprintf("policies: more than %d, which is what a token may name", maxPolicies),
			Hint: "one policy may hold the rules of many"}
	}
	if slices.Contains(names, WrappingPolicy) {
		return api.Errorf(api.Invalid, "cannot assign policy %q", WrappingPolicy)
	}
	return nil
}

// Consume kills a wrapping token as part of a transaction, which also removes what
// the token stands for. Of any number of such transactions one is committed.
// It returns Denied when the token is dead at that moment, or is no wrapping token.
func (s *Store) Consume(tx *store.Tx, nsID, id string, now time.Time) error {
	t, err := read(tx, rowKey{nsID, id})
	if err != nil {
		return err
	}
	if t == nil || !t.Wrapping() || !t.Alive(now) {
		return api.ErrDenied()
	}
	return s.end(tx, t)
}
