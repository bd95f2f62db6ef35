// Package lease owns what is lent: credentials that an engine made for one
// caller and takes back when their time is over, when somebody revokes them, or
// when the token they were made for dies.
//
// # What is stored
//
// In namespace N, on the whole encrypted store:
//
//	N/lease/id/<lease id>            the lease: its row, removed when it has been taken back
//	N/lease/of/<token>/<N2>/<tail>   a lease in namespace N2 of a token in N; holds its id
//	N/lease/stuck/<lease id>         a lease that could not be taken back
//	N/lease/gone/<mount>             a mount that was disabled while it may have had leases
//	N/lease/sweep/<hash of a path>   leases below that path that are being taken back together
//	root/lease/quarantine            there since a snapshot was put into the store
//	root/lease/parked/<N>/<lease id> a lease that is due, and not taken back in quarantine
//	N/due/<time>/lease/<tail>        when it is due (package schedule)
//	N/due/<time>/lease-sweep/<id>    leases that are being taken back together
//
// A lease's id is the path of the request that asked for it and a random tail,
// which outside the root namespace ends in a dot and the namespace's identifier.
//
// # How a lease ends
//
// A lease has ended from the commit that says so in its row; from then on nobody
// can renew it. Then its engine takes back what was lent, and only then is the
// row removed. So a node that dies anywhere leaves a row and a due-time, and
// another node asks the engine again: it is asked at least once, and until it
// succeeds. Nothing is read at start-up, whatever the number of leases.
//
// Tokens are leases too, under the path where they were made and h with their
// identity. They are kept by package token and only shown here.
package lease

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/mount"
	"github.com/strongroom/strongroom/internal/namespace"
	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/token"
)

// Config is what a Store stands on.
type Config struct {
	Store      store.Store // the whole encrypted store
	Cache      *store.Cache
	Mounts     *mount.Mounts
	Tokens     *token.Store
	Namespaces *namespace.Registry
	Counter    token.Counter // nil: nobody counts leases
	Now        func() time.Time
	Log        *slog.Logger
}

// Store keeps leases. It is safe for concurrent use.
type Store struct {
	Config
	quarantine *store.Memo[struct{}, *Quarantine]
}

// New is a store of leases. It reads nothing.
func New(c Config) *Store {
	s := &Store{Config: c}
	s.quarantine = store.NewMemo(c.Cache, 1, func(ctx context.Context, r store.Reader, _ struct{}) (*Quarantine, error) {
		return readQuarantine(r.Get(ctx, quarantineKey))
	})
	return s
}

// Lease is what is known of a lease.
type Lease struct {
	ID          string `json:"-"` // as the holder knows it
	NamespaceID string `json:"-"`

	MountID   string        `json:"mount"`
	Kind      string        `json:"kind"`
	Private   []byte        `json:"private,omitempty"` // the engine's own
	HolderNS  string        `json:"holder_ns,omitempty"`
	Holder    string        `json:"holder,omitempty"` // token that it dies with; empty: none
	EntityID  string        `json:"entity,omitempty"` // of the token that asked; empty: it has none
	Issued    time.Time     `json:"issued"`
	Expires   time.Time     `json:"expires"`
	Renewed   time.Time     `json:"renewed,omitzero"` // zero: never
	TTL       time.Duration `json:"ttl"`              // of the issue or the last renewal
	Usual     time.Duration `json:"usual"`            // of a renewal that asks for none
	MaxTTL    time.Duration `json:"max,omitempty"`    // from issue; 0: the mount's maximum
	Until     time.Time     `json:"until,omitzero"`   // of a batch token's lease: when the token ends
	Renewable bool          `json:"renewable,omitempty"`
	Quota     string        `json:"quota,omitempty"` // that counts it: see token.Counter
	Own       string        `json:"own,omitempty"`   // the quarantine in which it was made; empty: none lasted

	Ended   time.Time `json:"ended,omitzero"` // since when it is being taken back; zero: it is not
	Due     time.Time `json:"due"`            // of its row in the schedule
	Failure string    `json:"failure,omitempty"`

	rev store.Rev // of the row that was read
}

// Alive reports whether the lease is in force at a moment.
func (l *Lease) Alive(now time.Time) bool { return l.Ended.IsZero() && now.Before(l.Expires) }

// Path is the path of the request that asked for the lease, in its namespace.
func (l *Lease) Path() string { path, _ := cut(l.ID); return path }

// cut is a lease id's path and tail.
func cut(id string) (path, tail string) {
	i := strings.LastIndexByte(id, '/')
	return id[:max(i, 0)], id[i+1:]
}

func (l *Lease) held() *api.Held {
	return &api.Held{ID: l.ID, Private: l.Private, Issued: l.Issued, Expires: l.Expires}
}

// The kinds of due-time that leases have.
const (
	kindEnd   = "lease"       // a lease is to be taken back
	kindSweep = "lease-sweep" // many are
	kindTidy  = "lease-tidy"
)

// Rows is the prefix of the rows of a namespace's leases, one for each.
func Rows(nsID string) string { return rowKey(nsID, "") }

func rowKey(nsID, id string) string   { return nsID + "/lease/id/" + id }
func stuckKey(nsID, id string) string { return nsID + "/lease/stuck/" + id }
func goneKey(nsID, id string) string  { return nsID + "/lease/gone/" + id }

// holding is the prefix of the rows of a token's leases.
func holding(nsID, tokenID string) string { return nsID + "/lease/of/" + tokenID + "/" }

func (l *Lease) key() string { return rowKey(l.NamespaceID, l.ID) }

func (l *Lease) holderKey() string {
	_, tail := cut(l.ID)
	return holding(l.HolderNS, l.Holder) + l.NamespaceID + "/" + tail
}

func (l *Lease) item() schedule.Item {
	_, tail := cut(l.ID)
	return schedule.Item{Namespace: l.NamespaceID, At: l.Due, Kind: kindEnd, ID: tail, Data: []byte(l.ID)}
}

func decode(nsID string, e store.Entry) (*Lease, error) {
	l, err := store.DecodeJSON[Lease](e)
	if err != nil {
		return nil, err
	}
	l.NamespaceID, l.ID, l.rev = nsID, strings.TrimPrefix(e.Key, rowKey(nsID, "")), e.Rev
	return l, nil
}

// load reads a lease, ended or not; nil when there is none.
func (s *Store) load(ctx context.Context, nsID, id string) (*Lease, error) {
	l, _, err := s.row(ctx, nsID, id)
	return l, err
}

// row is load, and the row as it is stored: where it is damaged, its key and revision.
func (s *Store) row(ctx context.Context, nsID, id string) (*Lease, store.Entry, error) {
	e, err := s.Store.Get(ctx, rowKey(nsID, id))
	if err != nil || !e.Exists() {
		return nil, e, err
	}
	l, err := decode(nsID, e)
	return l, e, err
}

// read reads a lease as part of a transaction; nil when there is none.
func read(tx *store.Tx, nsID, id string) (*Lease, error) {
	e, err := tx.Get(rowKey(nsID, id))
	if err != nil || !e.Exists() {
		return nil, err
	}
	return decode(nsID, e)
}

// put writes a lease's row and moves its due-time.
func (l *Lease) put(tx *store.Tx, due time.Time) error {
	if !due.Equal(l.Due) {
		if !l.Due.IsZero() {
			schedule.Remove(tx, l.item())
		}
		l.Due = due
		if err := schedule.Add(tx, l.item()); err != nil {
			return err
		}
	}
	row, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("lease: encode row: %w", err)
	}
	tx.Put(l.key(), row)
	return nil
}

// remove removes all rows of a lease: four at most.
func (l *Lease) remove(tx *store.Tx) {
	tx.Delete(l.key())
	schedule.Remove(tx, l.item())
	if l.Holder != "" {
		tx.Delete(l.holderKey())
	}
	if l.Failure != "" {
		tx.Delete(stuckKey(l.NamespaceID, l.ID))
	}
}

// Register keeps the lease of an answer that a call is about to give to the
// bearer of a token. When the lease cannot be kept, what was lent is taken back.
func (s *Store) Register(c *api.Call, asked *api.Lease, t *token.Token) (*Lease, error) {
	ctx := context.WithoutCancel(c) // who asked may go away; what was lent is there
	l := s.draft(c, asked)
	err := checkPrivate(l.Private)
	if err == nil {
		err = l.terms(c, asked, t)
	}
	if err == nil {
		err = s.claim(ctx, l)
	}
	if err == nil {
		exempt := t.Root()
		_, err = store.Update(ctx, s.Store, func(tx *store.Tx) error {
			if err := s.charge(tx, l, exempt); err != nil {
				return err
			}
			return s.insert(tx, c, l)
		})
	}
	if err != nil {
		s.undo(ctx, c, l)
		return nil, err
	}
	return l, nil
}

// draft is a lease with an id.
func (s *Store) draft(c *api.Call, asked *api.Lease) *Lease {
	id := strings.TrimSuffix(c.Mount.Path+c.Path, "/") + "/" + rand.Text()
	if c.Namespace.ID != namespace.RootID {
		id += "." + c.Namespace.ID
	}
	return &Lease{ID: id, NamespaceID: c.Namespace.ID, MountID: c.Mount.ID, Kind: asked.Kind, Private: asked.Private,
		MaxTTL: asked.MaxTTL, Renewable: asked.Renewable, Issued: c.Now, Expires: c.Now}
}

// errLastUse is what a token at its last use is answered.
func errLastUse() error {
	return &api.Error{Kind: api.Invalid, Message: "Secret cannot be returned; token had one use left, so leased credentials were immediately revoked.",
		Hint: "ask with a token that has more uses left"}
}

// maxPrivate bounds what an engine keeps with a lease, in bytes: a row that could
// hardly be written could not be ended either.
const maxPrivate = 256 << 10

func checkPrivate(private []byte) error {
	if len(private) > maxPrivate {
		return fmt.Errorf("lease: an engine keeps %d bytes with a lease; %d are the most", len(private), maxPrivate)
	}
	return nil
}

// terms fills in whose the lease is and how long it lasts.
func (l *Lease) terms(c *api.Call, asked *api.Lease, t *token.Token) error {
	if t == nil {
		return errors.New("lease: an endpoint that needs no token asked for a lease")
	}
	l.HolderNS, l.Holder, l.Until = t.Lessee()
	l.EntityID = t.EntityID
	l.Usual = asked.TTL
	if l.Usual <= 0 {
		l.Usual = c.Mount.DefaultTTL
	}
	warning, err := l.extend(c.Now, c.Mount.MaxTTL, l.Usual)
	if warning != "" {
		c.Warn(warning)
	}
	return err
}

// extend sets the time of a lease from now on. It never goes beyond the lease's
// maximum, the mount's, or the end of the batch token that it belongs to; when it
// is shorter than wanted, there is a warning.
func (l *Lease) extend(now time.Time, most, wanted time.Duration) (warning string, err error) {
	if l.MaxTTL > 0 {
		most = min(most, l.MaxTTL)
	}
	left := l.Issued.Add(most).Sub(now)
	if !l.Until.IsZero() {
		left = min(left, l.Until.Sub(now))
	}
	if left <= 0 {
		return "", api.Errorf(api.Invalid, "past the max TTL, cannot renew")
	}
	if wanted > left {
		warning = fmt.Sprintf("TTL of %q exceeded the effective max_ttl of %q; TTL value is capped accordingly", wanted.Round(time.Second), left.Round(time.Second))
		wanted = left
	}
	l.TTL, l.Expires = wanted, now.Add(wanted)
	return warning, nil
}

// insert writes a new lease. Its mount must stand, its namespace must not be
// going, and its token must be alive, at that very moment: so that nothing is added
// to what is being taken back.
func (s *Store) insert(tx *store.Tx, c *api.Call, l *Lease) error {
	stands, err := s.Mounts.Stands(tx, l.NamespaceID, c.Mount.Path, l.MountID)
	if err == nil && !stands {
		err = api.Errorf(api.Invalid, "the mount has been disabled or moved meanwhile")
	}
	if err == nil {
		err = s.Namespaces.Require(tx, l.NamespaceID)
	}
	if err == nil && l.Holder != "" {
		err = s.hold(tx, l, c.Now)
	}
	if err != nil {
		return err
	}
	l.Due = time.Time{}
	return l.put(tx, l.Expires)
}

// hold ties a lease to its token.
func (s *Store) hold(tx *store.Tx, l *Lease, now time.Time) error {
	t, err := s.Tokens.ByID(tx.Context(), l.HolderNS, l.Holder)
	if err != nil {
		return err
	}
	if t != nil && t.NumUses < 0 {
		return errLastUse()
	}
	if err := s.Tokens.Hold(tx, l.HolderNS, l.Holder, now); err != nil {
		return err
	}
	tx.Put(l.holderKey(), []byte(l.ID))
	return nil
}

// undo takes back what was lent under a lease that could not be kept. What the
// engine does not take back at once is left to the schedule.
func (s *Store) undo(ctx context.Context, c *api.Call, l *Lease) {
	m, err := s.lessor(ctx, l.NamespaceID, l.MountID)
	if err == nil {
		err = m.revoke(ctx, s.Now(), l)
	}
	_, werr := store.Update(ctx, s.Store, func(tx *store.Tx) error {
		old, rerr := read(tx, l.NamespaceID, l.ID) // the outcome of the commit may be unknown
		if rerr != nil {
			return rerr
		}
		if old == nil {
			old = l
			old.HolderNS, old.Holder, old.Quota, old.Due = "", "", "", time.Time{}
		}
		if err == nil {
			old.remove(tx)
			return s.credit(tx, old.Quota)
		}
		old.Ended = c.Now
		return old.put(tx, s.Now().Add(retry))
	})
	if err != nil || werr != nil {
		s.Log.Error("what was lent could not be taken back at once", slog.String("lease", l.ID), slog.Any("error", errors.Join(err, werr)))
	}
}
