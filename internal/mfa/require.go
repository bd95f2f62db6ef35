package mfa

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/identity"
)

// Header is where a request shows passcodes: method:passcode, each in a header of its own.
const Header = "X-Vault-Mfa"

// Login is a login as enforcements look at it.
type Login struct {
	Accessor string // of the auth method
	Type     string
	Who      *identity.Person // nil: nobody
}

// Need is what a login needs: of each of some enforcements, one method.
type Need struct {
	entity string
	rules  []*rule
}

// Required is what a login in the call's namespace needs; nil: nothing. Enforcements of the
// namespace and of those above it count.
func (s *Store) Required(c *api.Call, l Login) (*Need, error) {
	above, err := s.Lineage(c, c.Namespace.ID)
	if err != nil {
		return nil, err
	}
	n := &Need{}
	for _, ns := range above {
		rules, err := s.rules.Get(c, ns)
		if err != nil {
			return nil, err
		}
		for _, r := range rules {
			if r.covers(l.Accessor, l.Type, l.Who) {
				n.rules = append(n.rules, r)
			}
		}
	}
	switch {
	case len(n.rules) == 0:
		return nil, nil
	case l.Who == nil:
		return nil, denied("a login that is nobody's needs a second factor")
	}
	n.entity = l.Who.ID
	return n, nil
}

// denied is the one refusal, with its cause for the log of refusals.
func denied(cause string) error {
	return &api.Error{Kind: api.Denied, Message: "permission denied", Err: errors.New("mfa: " + cause)}
}

// Shown are passcodes by the method's identifier or name.
type Shown map[string]api.Secret

// FromHeaders are the passcodes in a request's headers; none: there is no such header.
func FromHeaders(h http.Header) (Shown, error) {
	values := h.Values(Header)
	if len(values) > maxShown {
		return nil, api.Errorf(api.Invalid, "X-Vault-MFA: more than %d", maxShown)
	}
	out := Shown{}
	for _, v := range values {
		method, code, _ := strings.Cut(v, ":")
		if method = strings.TrimSpace(method); method == "" {
			return nil, api.Errorf(api.Invalid, "X-Vault-MFA: want method:passcode")
		}
		if _, twice := out[method]; twice {
			return nil, api.Errorf(api.Invalid, "X-Vault-MFA: a method is named twice")
		}
		out[method] = api.NewSecret(code)
	}
	return out, nil
}

// parsePayload reads passcodes as sys/mfa/validate has them: an object of lists with one
// text each.
func parsePayload(b []byte) (Shown, error) {
	var lists map[string][]string
	if err := json.Unmarshal(b, &lists); err != nil {
		return nil, api.Errorf(api.Invalid, "mfa_payload: want an object with a list of passcodes for each method's identifier")
	}
	if len(lists) > maxShown {
		return nil, api.Errorf(api.Invalid, "mfa_payload: more than %d methods", maxShown)
	}
	out := Shown{}
	for method, codes := range lists {
		switch len(codes) {
		case 0:
			out[method] = api.Secret{}
		case 1:
			out[method] = api.NewSecret(codes[0])
		default:
			return nil, api.Errorf(api.Invalid, "mfa_payload: more than one passcode for a method")
		}
	}
	return out, nil
}

// of is the passcode that is shown for a method.
func (s Shown) of(m *Method) (api.Secret, bool) {
	if code, ok := s[m.ID]; ok {
		return code, true
	}
	code, ok := s[m.Name]
	return code, ok && m.Name != ""
}

// Satisfy judges the passcodes that are shown together with a login, each once. It refuses the login unless
// of each enforcement one is right; which of them was not is not told.
func (s *Store) Satisfy(c *api.Call, n *Need, shown Shown) error {
	for _, r := range n.rules {
		for _, m := range r.methods {
			if _, ok := shown.of(m); ok && m.Type == typeWebAuthn { // before any passcode is used up
				return &api.Error{Kind: api.Invalid, Message: "X-Vault-MFA: a passkey answers a challenge, and this login has none yet",
					Hint: "log in without the header, and show the passkey to sys/mfa/validate"}
			}
		}
	}
	return s.satisfy(c, n, shown, "")
}

// satisfy is Satisfy for a login that waits, by its hash.
func (s *Store) satisfy(c *api.Call, n *Need, shown Shown, waits string) error {
	judged := map[string]bool{}
	for _, r := range n.rules {
		met := false
		for _, m := range r.methods {
			right, known := judged[m.ID]
			if code, ok := shown.of(m); ok && !known && !met {
				var err error
				if right, err = s.proveBy(c, n.entity, m, code, waits); err != nil {
					return err
				}
				judged[m.ID] = right
			}
			met = met || right
		}
		if !met {
			return s.unmet(c, n.entity, r, shown)
		}
	}
	return nil
}

// unmet is the refusal of a login that does not meet an enforcement. Its cause, for the log of refusals, tells who has mistyped
// from who has nothing to type: of all its methods, or of one that was shown. The same is read whatever the cause.
func (s *Store) unmet(c *api.Call, entity string, r *rule, shown Shown) error {
	cause := "a second factor is missing or wrong"
	var lacks []string
	said := false
	for _, m := range r.methods {
		key, what := factorKey(c.Namespace.ID, entity, m.ID), "no secret for "
		if m.Type == typeWebAuthn {
			key, what = passkeysKey(c.Namespace.ID, entity, m.ID), "no passkey for "
		}
		e, err := s.Store.Get(c, key)
		if err != nil {
			return err
		}
		if !e.Exists() {
			_, ok := shown.of(m)
			lacks, said = append(lacks, what+cmp.Or(m.Name, m.ID)), said || ok
		}
	}
	if len(lacks) > 0 && (said || len(lacks) == len(r.methods)) {
		cause += ": who logs in has " + strings.Join(lacks, " and ")
	}
	return denied(cause)
}

// proveBy judges what an entity shows for a method.
func (s *Store) proveBy(c *api.Call, entity string, m *Method, shown api.Secret, waits string) (bool, error) {
	if m.Type == typeWebAuthn {
		return s.provePasskey(c, entity, m, shown, waits)
	}
	return s.prove(c, c.Namespace.ID, entity, m, shown)
}

// requirement is what a client is told of a need.
func (n *Need) requirement(id string) *api.MFARequirement {
	out := &api.MFARequirement{RequestID: id, Constraints: map[string]api.MFAConstraint{}}
	for _, r := range n.rules {
		ways := []api.MFAMethod{}
		for _, m := range r.methods {
			ways = append(ways, api.MFAMethod{Type: m.Type, ID: m.ID, UsesPasscode: m.Type == typeTOTP, Name: m.Name})
		}
		name := r.Name
		if _, taken := out.Constraints[name]; taken { // by a namespace below
			name += " " + r.ID
		}
		out.Constraints[name] = api.MFAConstraint{Any: ways}
	}
	return out
}
