// Package lockout owns the counting of wrong credentials: an account that has been
// shown too many is locked for a while, whoever shows what, on every node at once.
//
// What is counted lies in the store, in a fixed number of rows for each mount. An account
// has its place in one of them, by a keyed hash of its name; the row holds a bounded number of
// accounts, of which the one with the fewest and oldest failures makes room for a new one.
// So whoever tries random names neither fills the store nor makes a known account's failures
// forgotten, short of locking as many others.
//
// An account without failures costs a login nothing but a look into memory, before
// and after its credential is checked. Once there are failures, an attempt is counted before it is
// checked, and the count is taken back if it was right. What attempts at the same time find out is
// put in one order by the row's revision: a right credential counts only if fewer than
// the allowed number of wrong ones came before it. Every failed attempt makes one commit,
// that of a locked account too, so that its time does not tell that it is locked.
package lockout

import (
	"context"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// Settings are a mount's.
type Settings struct {
	Threshold int           // so many wrong credentials lock an account; at least 1
	Duration  time.Duration // how long, from the last of them
	Reset     time.Duration // how long after the last one they are forgotten, short of locking
	Disabled  bool          // nothing is counted
}

// Defaults are what is in force where nothing else is said.
func Defaults() Settings {
	return Settings{Threshold: 5, Duration: 15 * time.Minute, Reset: 15 * time.Minute}
}

// maxAccount bounds an account's name, in bytes. A longer one is of nobody.
const maxAccount = 512

// remembered bounds how many rows a node keeps in mind.
const remembered = 8192

// Config is what a Store needs.
type Config struct {
	Store store.Store // the encrypted store
	Cache *store.Cache
	// Settings are those of the call's mount.
	Settings func(c *api.Call) (Settings, error)
	// Rows is the prefix of a mount's rows, which go with the mount.
	Rows func(namespaceID, mountID string) string
	// Hash is a keyed hash of a text, as hexadecimal.
	Hash func(ctx context.Context, namespaceID, text string) (string, error)
	// Mounts are the auth methods of the call's namespace.
	Mounts func(c *api.Call) ([]api.Mount, error)
	// Alone reports whether no other node serves from the store.
	Alone func() bool
}

// Store implements api.Attempts. It is safe for concurrent use.
type Store struct {
	Config
	rows   *store.Memo[string, *row]
	flight flight
}

// New counts in a store.
func New(c Config) *Store {
	return &Store{Config: c, rows: store.NewMemo(c.Cache, remembered, loadRow)}
}

// attempt is one of Attempt's calls.
type attempt struct {
	store    *Store
	call     *api.Call
	settings Settings
	account  string
	key      string // of the row
}

// Attempt implements api.Attempts.
func (s *Store) Attempt(c *api.Call, account string, check func() (bool, error)) (bool, error) {
	settings, err := s.Settings(c)
	switch {
	case err != nil:
		return false, err
	case settings.Disabled:
		return check()
	case len(account) > maxAccount:
		return false, nil
	}
	a := &attempt{store: s, call: c, settings: settings, account: account}
	if a.key, err = s.place(c, c.Mount.ID, account); err != nil {
		return false, err
	}
	abreast := 1
	if s.Alone() {
		abreast = settings.Threshold
	}
	p, err := s.flight.enter(c, a.key+"/"+account, abreast)
	if err != nil {
		return false, err
	}
	defer p.leave()
	return a.run(p, check)
}

func (a *attempt) run(p *pass, check func() (bool, error)) (bool, error) {
	clean, err := a.clean()
	if err != nil {
		return false, err
	}
	if !clean {
		if err := p.alone(a.call); err != nil {
			return false, err
		}
		return a.counted(check)
	}
	right, err := check()
	if err != nil {
		return false, err
	}
	if right {
		if clean, err = a.clean(); err != nil || clean {
			return err == nil, err
		}
		return a.change((*attempt).forget)
	}
	_, err = a.change((*attempt).count)
	return false, err
}

// counted checks a credential of an account that has failures: as a failure, until it
// proves right.
func (a *attempt) counted(check func() (bool, error)) (bool, error) {
	allowed, err := a.change((*attempt).count)
	if err != nil || !allowed {
		return false, err
	}
	right, err := check()
	switch {
	case err != nil:
		if _, undo := a.change((*attempt).uncount); undo != nil {
			return false, undo
		}
		return false, err
	case right:
		return a.change((*attempt).succeed)
	}
	return false, nil
}

// clean reports whether the account has no failures, as of now.
func (a *attempt) clean() (bool, error) {
	if _, err := a.store.Cache.Fresh(a.call); err != nil {
		return false, err
	}
	r, err := a.store.rows.Get(a.call, a.key)
	if err != nil {
		return false, err
	}
	e := r.find(a.account)
	return e == nil || !e.live(a.settings, a.call.Now), nil
}

// change has the account's row changed in a commit of its own. It reports whether what do
// did is in force: false for a locked account, whose row is written as it is.
func (a *attempt) change(do func(*attempt, *row) bool) (ok bool, err error) {
	_, err = store.Update(a.call, a.store.Store, func(tx *store.Tx) error {
		e, err := tx.Get(a.key)
		if err != nil {
			return err
		}
		r, err := decodeRow(e)
		if err != nil {
			return err
		}
		if r == nil {
			r = &row{}
		}
		r.tidy(a.settings, a.call.Now)
		ok = do(a, r)
		return r.write(tx, a.key)
	})
	return ok, err
}

// count adds a failure, unless the account is locked.
func (a *attempt) count(r *row) bool {
	e := r.find(a.account)
	if e == nil {
		e = r.room(a.account, a.settings)
	}
	if e.locked(a.settings, a.call.Now) {
		return false
	}
	e.Failures, e.Last = e.Failures+1, a.call.Now
	return true
}

// uncount takes back a failure that was none.
func (a *attempt) uncount(r *row) bool {
	if e := r.find(a.account); e != nil {
		if e.Failures--; e.Failures <= 0 {
			r.drop(a.account)
		}
	}
	return true
}

// forget drops an account's failures after a right credential that was not counted before,
// unless they have locked the account meanwhile.
func (a *attempt) forget(r *row) bool {
	if e := r.find(a.account); e != nil && e.locked(a.settings, a.call.Now) {
		return false
	}
	r.drop(a.account)
	return true
}

// succeed drops an account's failures after a right credential that was among those allowed.
func (a *attempt) succeed(r *row) bool {
	r.drop(a.account)
	return true
}
