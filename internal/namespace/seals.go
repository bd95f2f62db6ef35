package namespace

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/hashicorp/hcl"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// SealSpec says what shares to make of a namespace's key.
type SealSpec struct {
	Shares    int      // how many
	Threshold int      // how many of them unseal
	PGPKeys   []string // public keys to encrypt them to, one for each; none: they are answered in the clear
}

// Seals keeps the shares of namespaces' keys. Its errors are for callers to be told.
type Seals interface {
	// Judge refuses what Share could not make.
	Judge(s *SealSpec) error
	// Share makes shares of a namespace's key, once: then it is a Conflict.
	Share(ctx context.Context, id string, s *SealSpec) ([]api.Disclosed, error)
	Status(ctx context.Context, id string) (*SealStatus, error)
	// Submit takes one share, and unseals the namespace with the last that is needed.
	Submit(ctx context.Context, id string, key api.Secret) (*SealStatus, error)
	// Reset forgets the shares that were handed in.
	Reset(id string)
	// Seal takes the namespace's key away from all nodes, unless ordered says no once the key was looked at; it can be repeated.
	Seal(ctx context.Context, id string, ordered func() (bool, error)) error
}

// SealStatus is whether a namespace is sealed, and how many unseal keys it has and needs.
type SealStatus struct {
	Type        string `json:"type"`
	Initialized bool   `json:"initialized"`
	Sealed      bool   `json:"sealed"`
	T           int    `json:"t"`
	N           int    `json:"n"`
	Progress    int    `json:"progress"`
	Nonce       string `json:"nonce"`
}

// maxSealConfig bounds the description of a seal, in bytes.
const maxSealConfig = 4 << 10

// sealConfig is the description of a seal: HCL or JSON, as in a server's configuration.
type sealConfig struct {
	Seal map[string]shamirConfig `hcl:"seal" json:"seal"`
}

type shamirConfig struct {
	Shares          int `hcl:"shares" json:"shares"`
	Threshold       int `hcl:"threshold" json:"threshold"`
	SecretShares    int `hcl:"secret_shares" json:"secret_shares"`
	SecretThreshold int `hcl:"secret_threshold" json:"secret_threshold"`
}

// ParseSeal reads the description of a seal: seal "shamir" { shares = 5 threshold = 3 }.
func ParseSeal(text string, keys []string) (*SealSpec, error) {
	bad := func(why string) (*SealSpec, error) {
		return nil, &api.Error{Kind: api.Invalid, Message: "seal: " + why, Hint: `such as: seal "shamir" { shares = 5 threshold = 3 }`}
	}
	if len(text) > maxSealConfig {
		return bad("longer than " + fmt.Sprint(maxSealConfig) + " bytes")
	}
	var c sealConfig
	if json.Valid([]byte(text)) {
		if err := json.Unmarshal([]byte(text), &c); err != nil {
			return bad("not the description of a seal")
		}
	} else if err := hcl.Decode(&c, text); err != nil {
		return bad("neither HCL nor JSON")
	}
	s, ok := c.Seal["shamir"]
	if !ok || len(c.Seal) != 1 {
		return bad("a namespace has one seal, of type shamir")
	}
	spec := &SealSpec{Shares: max(s.Shares, s.SecretShares), Threshold: max(s.Threshold, s.SecretThreshold), PGPKeys: keys}
	if spec.Shares == 0 || spec.Threshold == 0 {
		return bad("shares and threshold are needed")
	}
	return spec, nil
}

// wanted is the seal that a request asks for; nil when it asks for none.
func (r *Registry) wanted(text string, keys []string) (*SealSpec, error) {
	switch {
	case strings.TrimSpace(text) == "" && len(keys) > 0:
		return nil, api.Errorf(api.Invalid, "pgp_keys: there is no seal whose keys could be encrypted to them")
	case strings.TrimSpace(text) == "":
		return nil, nil
	case r.hooks.Seals == nil:
		return nil, api.Errorf(api.Invalid, "seal: namespaces cannot be sealed here")
	}
	s, err := ParseSeal(text, keys)
	if err == nil {
		err = r.hooks.Seals.Judge(s)
	}
	return s, err
}

// shareLater makes a namespace that exists, and has none below, one that can be sealed.
// One that can be already keeps its holders: who may change it from above is not one of them.
func (r *Registry) shareLater(ctx context.Context, n *Namespace, s *SealSpec) ([]api.Disclosed, *Namespace, error) {
	_, err := store.Update(ctx, r.store, func(tx *store.Tx) error {
		now, err := rowOf(tx, n.rowKey())
		if err != nil {
			return err
		}
		if !now.Live() || now.ID != n.ID {
			return errGone()
		}
		children, err := r.hasChildren(tx, n.ID)
		switch {
		case err != nil:
			return err
		case now.Sealed:
			return ErrSealed(now)
		case children && !now.Sealable:
			return &api.Error{Kind: api.Invalid, Message: "seal: there are namespaces below, whose keys do not take this one's", Hint: "a namespace is given its seal before it has others below it"}
		}
		now.Sealable = true // from here on, what is made below takes its key
		return put(tx, now)
	})
	if err != nil {
		return nil, nil, err
	}
	keys, err := r.hooks.Seals.Share(ctx, n.ID, s)
	if err != nil {
		return nil, nil, err
	}
	n, err = r.update(ctx, n, func(n *Namespace) error {
		n.Above = ""
		return nil
	})
	return keys, n, err
}

// ErrSealed is what requests to a sealed namespace, or to one below it, meet.
func ErrSealed(n *Namespace) *api.Error {
	return &api.Error{Kind: api.Unavailable, Message: "the namespace " + n.Path + " is sealed", Hint: "its holders unseal it with: strongroom namespace unseal", RetryAfter: api.Stays}
}

// child is a namespace right below the one that a call is made in.
func (r *Registry) child(c *api.Call, name string) (*Namespace, error) {
	if err := named(name); err != nil {
		return nil, err
	}
	n, err := r.Child(c, c.Namespace.ID, strings.Trim(name, "/"))
	if err == nil && !n.Live() {
		err = errNone()
	}
	return n, err
}

// errNone is of a name that no namespace right below has.
func errNone() error {
	return &api.Error{Kind: api.NotFound, Message: "path: there is no such namespace right below the one that was asked in", Hint: "see sys/namespaces, and ask in the namespace above it, such as with -namespace=a for a/b"}
}

// guarded is a namespace right below that can be sealed.
func (r *Registry) guarded(c *api.Call, name string) (*Namespace, error) {
	n, err := r.child(c, name)
	if err == nil && (!n.Sealable || r.hooks.Seals == nil) {
		err = &api.Error{Kind: api.Invalid, Message: "the namespace cannot be sealed: it has no seal of its own", Hint: "give it one, while there are none below it, with: strongroom namespace patch -key-shares=5 -key-threshold=3 NAME"}
	}
	return n, err
}

// NameRequest names a namespace right below.
type NameRequest struct {
	Path string `path:"path"` // Name of the namespace, right below the one the request is made in.
}

// UnsealRequest hands in one unseal key of a namespace.
type UnsealRequest struct {
	NameRequest
	Key   api.Secret `json:"key"`   // An unseal key of the namespace, in base64 or hexadecimal.
	Reset bool       `json:"reset"` // Forget the unseal keys handed in so far.
}

// DeleteSealedRequest gives up a sealed namespace.
type DeleteSealedRequest struct {
	NameRequest
	Force bool `json:"force"` // Also delete the namespaces below it.
}

// sealStatus says whether a namespace is sealed, and how many unseal keys it has and needs.
func (r *Registry) sealStatus(c *api.Call, q *NameRequest) (*SealStatus, error) {
	n, err := r.guarded(c, q.Path)
	if err != nil {
		return nil, err
	}
	return r.statusOf(c, n)
}

func (r *Registry) statusOf(ctx context.Context, n *Namespace) (*SealStatus, error) {
	st, err := r.hooks.Seals.Status(ctx, n.ID)
	if err == nil {
		st.Sealed = st.Sealed || n.Sealed
	}
	return st, err
}

// seal seals a namespace, and with it those below that have no seal of their own: its
// keys are taken away from all nodes, and nobody reads what is in it until it is unsealed.
func (r *Registry) seal(c *api.Call, q *NameRequest) (*api.None, error) {
	n, err := r.guarded(c, q.Path)
	if err != nil {
		return nil, err
	}
	_, err = store.Update(c, r.store, func(tx *store.Tx) error {
		now, err := rowOf(tx, n.rowKey())
		if err != nil {
			return err
		}
		if !now.Live() || now.ID != n.ID {
			return errNone()
		}
		now.Sealed, now.Order = true, newID()
		return errors.Join(put(tx, now), r.hooks.SealLater(tx, n.ID))
	})
	if err != nil {
		return nil, err
	}
	return nil, r.FinishSeal(c, n.ID)
}

// FinishSeal carries an order out to seal a namespace: its key is taken away. It can be repeated after a kill at any point,
// and does nothing once the order was carried out: it must not seal what was unsealed since.
func (r *Registry) FinishSeal(ctx context.Context, id string) error {
	return r.carryOut(ctx, id, func(n *Namespace) bool { return n.Done != n.Order })
}

// carryOut takes the key of a namespace away that is marked as sealed and is due, and notes that.
func (r *Registry) carryOut(ctx context.Context, id string, due func(*Namespace) bool) error {
	n, err := loadByID(ctx, r.store, id)
	if err != nil || n == nil || !n.ordered(due) {
		return err
	}
	order := n.Order
	same := func(now *Namespace) bool { return now != nil && now.Order == order && now.ordered(due) }
	err = r.hooks.Seals.Seal(ctx, id, func() (bool, error) {
		now, err := loadByID(ctx, r.store, id)
		return same(now), err
	})
	if err != nil {
		return err
	}
	_, err = store.Update(ctx, r.store, func(tx *store.Tx) error {
		now, err := rowOf(tx, n.rowKey())
		if err != nil || !same(now) || now.Done == order {
			return err
		}
		now.Done = order
		return put(tx, now)
	})
	return err
}

// ordered reports whether a namespace is marked as sealed, and its key is due to go.
func (n *Namespace) ordered(due func(*Namespace) bool) bool { return n.Sealed && n.Live() && due(n) }

// unseal takes one unseal key of a namespace. With the last that is needed it is open on all nodes.
func (r *Registry) unseal(c *api.Call, q *UnsealRequest) (*SealStatus, error) {
	n, err := r.guarded(c, q.Path)
	switch {
	case err != nil:
		return nil, err
	case q.Reset:
		r.hooks.Seals.Reset(n.ID)
		return r.statusOf(c, n)
	case q.Key.Empty():
		return nil, api.Errorf(api.Invalid, "key: missing: an unseal key of the namespace, or 'reset'")
	}
	if n.Sealed { // a kill may have come between the mark and the key's end, or between the key's return and the mark's end
		if err := r.carryOut(c, n.ID, func(*Namespace) bool { return true }); err != nil {
			return nil, err
		}
	}
	st, err := r.hooks.Seals.Submit(c, n.ID, q.Key)
	if err != nil || st.Sealed || !n.Sealed {
		return st, err
	}
	_, err = r.update(c, n, func(n *Namespace) error {
		n.Sealed = false
		return nil
	})
	return st, err
}

// deleteSealed gives up a sealed namespace whose unseal keys are lost, with everything in it. What it has lent is not taken back.
func (r *Registry) deleteSealed(c *api.Call, q *DeleteSealedRequest) (*Progress, error) {
	n, err := r.guarded(c, q.Path)
	if err != nil {
		return nil, err
	}
	if !n.Sealed {
		return nil, &api.Error{Kind: api.Invalid, Message: "the namespace is not sealed", Hint: "delete it with: strongroom namespace delete"}
	}
	if err := r.abandon(c, n, q.Force, true); err != nil {
		return nil, err
	}
	return &Progress{Status: "in-progress"}, nil
}

// abandon marks a namespace, and those below it, as given up, the lowest last: none can be
// made below one that is marked.
func (r *Registry) abandon(ctx context.Context, n *Namespace, force, top bool) error {
	_, err := store.Update(ctx, r.store, func(tx *store.Tx) error {
		now, err := rowOf(tx, n.rowKey())
		if err != nil || now == nil || now.ID != n.ID {
			return err
		}
		children, err := r.hasChildren(tx, n.ID)
		switch {
		case err != nil:
			return err
		case top && !now.Sealed: // it has been unsealed meanwhile
			return api.Errorf(api.Conflict, "the namespace is not sealed")
		case children && !force:
			return &api.Error{Kind: api.Invalid, Message: "unable to delete namespace containing child namespaces", Hint: "with force=true they are deleted, too"}
		}
		now.Deleting, now.Abandoned = true, true
		return errors.Join(put(tx, now), r.hooks.Delete(tx, n.ID))
	})
	if err != nil || !force {
		return err
	}
	below, err := r.Children(ctx, n.ID)
	if err != nil {
		return err
	}
	for _, child := range below {
		if child.Damaged() != "" {
			return &api.Error{Kind: api.Damaged, Message: "the row of a namespace below is damaged: what is in it cannot be found", Err: store.ErrCorrupt}
		}
		if err := r.abandon(ctx, child, true, false); err != nil {
			return err
		}
	}
	return nil
}

// Abandoned reports whether a namespace was deleted while it was sealed.
func (r *Registry) Abandoned(ctx context.Context, id string) (bool, error) {
	n, err := loadByID(ctx, r.store, id)
	return n != nil && n.Deleting && n.Abandoned, err
}
