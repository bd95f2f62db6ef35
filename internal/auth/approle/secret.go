package approle

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// Areas of the mount's store for secret ids. The first two go on with the role's
// identity and a hash.
const (
	secretPrefix   = "secret/"
	accessorPrefix = "accessor/"
	duePrefix      = "due/"  // goes on with the moment, the role's identity and the secret id's hash
	gonePrefix     = "gone/" // goes on with the identity of a removed role whose rows are being erased
)

// secret is a secret id's row.
type secret struct {
	Accessor   string            `json:"accessor"`
	At         string            `json:"at"` // hash of the accessor
	Created    time.Time         `json:"created"`
	Updated    time.Time         `json:"updated"`
	Expires    time.Time         `json:"expires,omitzero"` // zero: never
	TTL        time.Duration     `json:"ttl,omitempty"`
	Limited    bool              `json:"limited,omitempty"` // it is good for Uses more logins
	Uses       int               `json:"uses,omitempty"`
	CIDRs      []string          `json:"cidrs,omitempty"`
	TokenCIDRs []string          `json:"token_cidrs,omitempty"`
	Metadata   map[string]string `json:"metadata,omitempty"`
}

func (s *secret) alive(now time.Time) bool {
	return (s.Expires.IsZero() || now.Before(s.Expires)) && (!s.Limited || s.Uses > 0)
}

// accessorRow is the value of an accessor's row.
type accessorRow struct {
	Accessor string `json:"accessor"`
	Hash     string `json:"secret"` // of the secret id
}

func newKey() []byte {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // it never fails: see its documentation
	return key
}

// hash is what a secret id or an accessor is kept as.
func (r *role) hash(text api.Secret) string { return api.Digest(r.Key, text) }

func (r *role) secretKey(hash string) string { return secretPrefix + r.ID + "/" + hash }

func (r *role) accessorKey(hash string) string { return accessorPrefix + r.ID + "/" + hash }

// dueKey is where it is noted that a secret id expires; the next full second, since
// only then it is certain to have.
func (r *role) dueKey(at time.Time, hash string) string {
	return duePrefix + stamp(at.Add(time.Second)) + "/" + r.ID + "/" + hash
}

// stamp is a moment as text that sorts by time.
func stamp(t time.Time) string { return t.UTC().Format("20060102150405") }

func loadSecret(ctx context.Context, s store.Reader, key string) (*secret, error) {
	return store.LoadJSON[secret](ctx, s, key)
}

// decodeSecret is nil for one that is not there.
func decodeSecret(e store.Entry, err error) (*secret, error) {
	if err != nil || !e.Exists() {
		return nil, err
	}
	return store.DecodeJSON[secret](e)
}

// insert writes a new secret id, unless the role has been removed meanwhile or has it.
func (r *role) insert(c *api.Call, s *secret, text api.Secret) error {
	hash := r.hash(text)
	s.At = r.hash(api.NewSecret(s.Accessor))
	if !s.Expires.IsZero() {
		if err := c.Later(s.Expires.Add(time.Second)); err != nil {
			return err
		}
	}
	_, err := store.Update(c, c.Store, func(tx *store.Tx) error {
		e, err := tx.Get(rolePrefix + r.Name)
		now, err := decodeRole(e, err)
		if err != nil {
			return err
		}
		if now == nil || now.ID != r.ID {
			return errNoRole()
		}
		e, err = tx.Get(r.secretKey(hash))
		if err != nil {
			return err
		}
		if e.Exists() {
			return api.Errorf(api.Invalid, "secret_id: the role has this secret id already")
		}
		if !s.Expires.IsZero() {
			tx.Put(r.dueKey(s.Expires, hash), []byte{})
		}
		if err := tx.PutJSON(r.accessorKey(s.At), accessorRow{s.Accessor, hash}); err != nil {
			return err
		}
		return tx.PutJSON(r.secretKey(hash), s)
	})
	return err
}

// spend takes a use of a secret id, as it is at that moment; false: it had none
// left. With its last use it is gone.
func (r *role) spend(c *api.Call, hash string) (spent bool, err error) {
	_, err = store.Update(c, c.Store, func(tx *store.Tx) error {
		e, err := tx.Get(r.secretKey(hash))
		s, err := decodeSecret(e, err)
		spent = err == nil && s != nil && s.alive(c.Now)
		switch {
		case !spent:
			return err
		case s.Uses == 1:
			r.erase(tx, s, hash)
			return nil
		}
		s.Uses, s.Updated = s.Uses-1, c.Now
		return tx.PutJSON(r.secretKey(hash), s)
	})
	return spent && err == nil, err
}

// erase removes a secret id's rows.
func (r *role) erase(tx *store.Tx, s *secret, hash string) {
	tx.Delete(r.secretKey(hash))
	tx.Delete(r.accessorKey(s.At))
	if !s.Expires.IsZero() {
		tx.Delete(r.dueKey(s.Expires, hash))
	}
}

// destroy removes a secret id; one that is not there is as good as removed.
func (r *role) destroy(c *api.Call, hash string) error {
	_, err := store.Update(c, c.Store, func(tx *store.Tx) error {
		e, err := tx.Get(r.secretKey(hash))
		s, err := decodeSecret(e, err)
		if err != nil || s == nil {
			return err
		}
		r.erase(tx, s, hash)
		return nil
	})
	return err
}

// Terms are what may be asked of a new secret id.
type Terms struct {
	Metadata        string        `json:"metadata"`          // A JSON object of texts, or NAME=VALUE with commas between, for the metadata of tokens.
	CIDRList        []string      `json:"cidr_list"`         // Addresses that logins with it may come from; among the role's.
	TokenBoundCIDRs []string      `json:"token_bound_cidrs"` // Addresses of its tokens; among the role's.
	NumUses         *int          `json:"num_uses"`          // How many logins it is good for; as the role says when absent.
	TTL             *api.Duration `json:"ttl"`               // How long it is good; as the role says when absent.
}

// newSecret is a new secret id by the role and what is asked.
func newSecret(c *api.Call, r *role, t *Terms) (*secret, error) {
	s := &secret{Accessor: api.NewUUID(), Created: c.Now, Updated: c.Now, Uses: r.NumUses, TTL: r.TTL, CIDRs: t.CIDRList, TokenCIDRs: t.TokenBoundCIDRs}
	if t.NumUses != nil {
		s.Uses = *t.NumUses
	}
	api.Set((*api.Duration)(&s.TTL), t.TTL)
	s.Limited = s.Uses > 0
	switch {
	case s.Uses < 0 || s.TTL < 0:
		return nil, api.Errorf(api.Invalid, "num_uses and ttl cannot be negative")
	case r.NumUses > 0 && (s.Uses == 0 || s.Uses > r.NumUses):
		return nil, api.Errorf(api.Invalid, "num_uses: cannot be higher than the role's secret_id_num_uses")
	case r.TTL > 0 && (s.TTL == 0 || s.TTL > r.TTL):
		return nil, api.Errorf(api.Invalid, "ttl: cannot be longer than the role's secret_id_ttl")
	}
	if s.TTL > c.Mount.MaxTTL {
		s.TTL = c.Mount.MaxTTL
	}
	if s.TTL > 0 {
		s.Expires = c.Now.Add(s.TTL)
	}
	if err := errorsOf(within("cidr_list", s.CIDRs, r.BoundCIDRs), within("token_bound_cidrs", s.TokenCIDRs, r.Terms.BoundCIDRs)); err != nil {
		return nil, err
	}
	var err error
	s.Metadata, err = parseMetadata(t.Metadata)
	return s, err
}

// errorsOf is the first of some errors.
func errorsOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// parseMetadata reads a JSON object of texts, or texts as NAME=VALUE with commas between.
func parseMetadata(text string) (map[string]string, error) {
	if text = strings.TrimSpace(text); text == "" {
		return nil, nil
	}
	if len(text) > maxMetadata {
		return nil, api.Errorf(api.Invalid, "metadata: longer than %d bytes", maxMetadata)
	}
	out := map[string]string{}
	if strings.HasPrefix(text, "{") {
		if err := json.Unmarshal([]byte(text), &out); err != nil {
			return nil, errMetadata()
		}
		return out, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		name, value, found := strings.Cut(part, "=")
		if name = strings.TrimSpace(name); !found || name == "" {
			return nil, errMetadata()
		}
		out[name] = strings.TrimSpace(value)
	}
	return out, nil
}

func errMetadata() error {
	return &api.Error{Kind: api.Invalid, Message: "metadata: must be a JSON object of texts, as text", Hint: `such as {"team":"web"}, or team=web,stage=prod`}
}

// within refuses ranges of addresses that do not lie in the role's, where it has some.
func within(field string, list, role []string) error {
	if err := checkCIDRs(field, list); err != nil || len(role) == 0 {
		return err
	}
	for _, text := range list {
		if !slices.ContainsFunc(role, func(outer string) bool { return contains(outer, text) }) {
			return api.Errorf(api.Invalid, "%s: is not among the addresses of the role", field)
		}
	}
	return nil
}

// contains reports whether a range lies in another.
func contains(outer, inner string) bool {
	o, i := prefix(outer), prefix(inner)
	return o.IsValid() && i.IsValid() && o.Bits() <= i.Bits() && o.Contains(i.Addr())
}

// prefix is the range that a text names.
func prefix(text string) netip.Prefix {
	if a, err := netip.ParseAddr(text); err == nil {
		a = a.Unmap().WithZone("")
		return netip.PrefixFrom(a, a.BitLen())
	}
	p, err := netip.ParsePrefix(text)
	if err != nil || p.Addr().Is4In6() { // in which no address lies: see api.Within
		return netip.Prefix{}
	}
	return p.Masked()
}

// narrowed are the addresses of a secret id's tokens: those that it names, as far as
// they are still among the role's. false: of those none is left.
func narrowed(own, role []string) ([]string, bool) {
	switch {
	case len(own) == 0:
		return role, true
	case len(role) == 0:
		return own, true
	}
	out := slices.DeleteFunc(slices.Clone(own), func(text string) bool {
		return !slices.ContainsFunc(role, func(outer string) bool { return contains(outer, text) })
	})
	return out, len(out) > 0
}
