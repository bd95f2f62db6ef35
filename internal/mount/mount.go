// Package mount owns the mount tables: which secret engine or auth method
// answers under which path of which namespace, and with what settings.
//
// One mount is one row under its namespace. Its data lies under its identifier,
// not its path, so a move is one commit and touches no data. A guard row that
// every change of a table touches keeps two changes from overlapping.
package mount

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/policy"
	"github.com/strongroom/strongroom/internal/store"
)

// Limits on lease durations when neither mount nor request nor the server's
// configuration says otherwise.
const (
	SystemDefaultTTL = 768 * time.Hour
	SystemMaxTTL     = 768 * time.Hour
)

// remembered bounds how many namespaces' tables a node keeps in mind.
const remembered = 1024

const authPrefix = "auth/"

// maxRow bounds a mount's stored form, in bytes.
const maxRow = 64 << 10

// Config is what tune changes.
type Config struct {
	DefaultTTL                api.Duration `json:"default_lease_ttl"`
	MaxTTL                    api.Duration `json:"max_lease_ttl"`
	ForceNoCache              bool         `json:"force_no_cache"`
	TokenType                 string       `json:"token_type,omitempty"`
	ListingVisibility         string       `json:"listing_visibility,omitempty"`
	AuditNonHMACRequestKeys   []string     `json:"audit_non_hmac_request_keys,omitempty"`
	AuditNonHMACResponseKeys  []string     `json:"audit_non_hmac_response_keys,omitempty"`
	PassthroughRequestHeaders []string     `json:"passthrough_request_headers,omitempty"`
	AllowedResponseHeaders    []string     `json:"allowed_response_headers,omitempty"`
	UserLockout               *Lockout     `json:"user_lockout_config,omitempty"`
	FilterLists               bool         `json:"filter_lists,omitempty"`
}

// Entry is one mount.
type Entry struct {
	ID          string            `json:"id"`
	UUID        string            `json:"uuid"`
	Accessor    string            `json:"accessor"`
	Path        string            `json:"path"` // as in a request: secret/, auth/token/
	Type        string            `json:"type"`
	Description string            `json:"description"`
	Options     map[string]string `json:"options"`
	Config      Config            `json:"config"`
	Local       bool              `json:"local"`
	SealWrap    bool              `json:"seal_wrap"`
	Created     time.Time         `json:"created"`
	Builtin     bool              `json:"builtin,omitempty"`
	MovedFrom   string            `json:"moved_from,omitempty"` // path before the last move

	router *api.Router
	system Limits     // where Config sets none
	damage *api.Error // its row cannot be read; nil: it could
	lent   bool       // it has no row: the namespace is older than what is mounted
}

// Limits are lease durations.
type Limits struct {
	Default time.Duration // of a lease that asks for none
	Max     time.Duration // of every lease
}

// Auth reports whether the mount is an auth method.
func (e *Entry) Auth() bool { return strings.HasPrefix(e.Path, authPrefix) }

// Name is the mount's path within its table: secret/, token/.
func (e *Entry) Name() string { return strings.TrimPrefix(e.Path, authPrefix) }

// Router finds the mount's endpoints.
func (e *Entry) Router() *api.Router { return e.router }

// Prefix is where the mount's data lies in the encrypted store.
func (e *Entry) Prefix(nsID string) string { return nsID + "/m/" + e.ID + "/" }

// IsPrefix reports whether a prefix of the encrypted store is all of one mount's
// data, no more and no less.
func IsPrefix(prefix string) bool {
	nsID, rest, found := strings.Cut(prefix, "/m/")
	id, ends := strings.CutSuffix(rest, "/")
	return found && ends && nsID != "" && id != "" && !strings.Contains(nsID, "/") && !strings.Contains(id, "/")
}

// TTLs are the effective default and maximum lease durations.
func (e *Entry) TTLs() (def, most time.Duration) {
	def, most = e.system.Default, e.system.Max
	if e.Config.MaxTTL > 0 {
		most = e.Config.MaxTTL.Std()
	}
	if e.Config.DefaultTTL > 0 {
		def = e.Config.DefaultTTL.Std()
	}
	return min(def, most), most
}

// API is the mount as handlers see it.
func (e *Entry) API() api.Mount {
	def, most := e.TTLs()
	return api.Mount{ID: e.ID, Accessor: e.Accessor, Path: e.Path, Type: e.Type, Options: e.Options, DefaultTTL: def, MaxTTL: most}
}

// Table is all mounts of one namespace, immutable.
type Table struct {
	byPath  map[string]*Entry
	byID    map[string]*Entry
	paths   []string // sorted
	unknown *Entry   // one whose row is damaged, and with it its identifier; nil: none
}

func newTable(mounts int) *Table {
	return &Table{byPath: make(map[string]*Entry, mounts), byID: make(map[string]*Entry, mounts)}
}

func (t *Table) add(e *Entry) {
	t.byPath[e.Path] = e
	t.paths = append(t.paths, e.Path)
	if e.ID != "" {
		t.byID[e.ID] = e
	}
	if e.Refusal() != nil {
		t.unknown = e
	}
}

// Resolve finds the mount that a namespace-relative path lies in and the rest of
// the path. A path that names the mount without its slash resolves too.
func (t *Table) Resolve(path string) (*Entry, string, bool) {
	for i := 0; i < len(path); i++ {
		if path[i] != '/' {
			continue
		}
		if e := t.byPath[path[:i+1]]; e != nil {
			return e, path[i+1:], true
		}
	}
	e := t.byPath[path+"/"]
	return e, "", e != nil
}

// Entries are the mounts of one table, in path order.
func (t *Table) Entries(auth bool) []*Entry {
	var out []*Entry
	for _, p := range t.paths {
		if e := t.byPath[p]; e.Auth() == auth {
			out = append(out, e)
		}
	}
	return out
}

// ByAccessor is the mount with an accessor, or nil.
func (t *Table) ByAccessor(accessor string) *Entry {
	for _, e := range t.byPath {
		if accessor != "" && e.Accessor == accessor {
			return e
		}
	}
	return nil
}

// Get is the mount at exactly a path, with its slash.
func (t *Table) Get(path string) *Entry { return t.byPath[path] }

// ByID is the mount with an identifier, or nil. That it is nil says nothing where
// a row is damaged, which may be that of the mount: then it returns an error.
func (t *Table) ByID(id string) (*Entry, error) {
	if e := t.byID[id]; e != nil {
		return e, nil
	}
	return nil, t.absent()
}

// Hooks are what the tables ask of the packages beside and above them.
type Hooks struct {
	// Taken reports whether a namespace has the path's first segment.
	Taken func(tx *store.Tx, nsID, path string) (bool, error)
	// Delete records in the transaction that the data under a prefix of the
	// encrypted store is to be deleted.
	Delete func(tx *store.Tx, prefix string) error
	// Damaged is told which rows of mounts are damaged; nil: nobody is.
	Damaged *store.Quarantine
	// Removed and Moved record in the transaction what is to become of a mount's
	// leases once it has been disabled, or moved away from a path; nil: nothing.
	Removed func(tx *store.Tx, nsID string, e *Entry) error
	Moved   func(tx *store.Tx, nsID, from string, e *Entry) error
}

// Mounts keeps the tables of all namespaces.
type Mounts struct {
	store   store.Store
	memo    *store.Memo[string, *Table] // by namespace
	engines map[string]api.Engine       // by key
	routers map[string]*api.Router
	hooks   Hooks
	system  Limits
	now     func() time.Time

	quarantine *store.Quarantine
}

func engineKey(kind string, auth bool) string {
	if auth {
		return authPrefix + kind
	}
	return kind
}

// New makes the tables over the encrypted store. system is what applies to mounts
// that set no lease durations of their own; zero fields are 768 hours. Install must follow before the
// first use.
func New(s store.Store, cache *store.Cache, hooks Hooks, system Limits, now func() time.Time) *Mounts {
	if system.Default == 0 {
		system.Default = SystemDefaultTTL
	}
	if system.Max == 0 {
		system.Max = SystemMaxTTL
	}
	m := &Mounts{store: s, engines: map[string]api.Engine{}, routers: map[string]*api.Router{}, hooks: hooks, system: system, now: now, quarantine: hooks.Damaged}
	m.memo = store.NewMemo(cache, remembered, m.load)
	return m
}

// Install gives the tables the engines and auth methods that can be mounted. It
// is called once. It returns an error for a wrong declaration of routes.
func (m *Mounts) Install(engines []api.Engine) error {
	for _, e := range engines {
		key := engineKey(e.Type, e.Auth)
		m.engines[key] = e
		for _, version := range []string{"", "1", "2"} {
			eps := e.Endpoints
			if e.Variant != nil {
				eps = e.Variant(map[string]string{"version": version})
			}
			r, err := api.NewRouter(eps)
			if err != nil {
				return fmt.Errorf("engine %s: %w", key, err)
			}
			m.routers[key+"@"+version] = r
		}
	}
	return nil
}

func (m *Mounts) routerFor(e *Entry) *api.Router {
	return m.routers[engineKey(e.Type, e.Auth())+"@"+e.Options["version"]]
}

// LeaseKind is how a mount's engine takes care of a kind of lease; false when
// this version has no such engine or kind.
func (m *Mounts) LeaseKind(e *Entry, kind string) (api.LeaseKind, bool) {
	k, ok := m.engines[engineKey(e.Type, e.Auth())].Leases[kind]
	return k, ok
}

// Renewer is what a mount's auth method says to renewals of its tokens; nil: nothing.
func (m *Mounts) Renewer(e *Entry) api.Renewer {
	return m.engines[engineKey(e.Type, e.Auth())].Renew
}

// Spell is the canonical spelling that a mount's auth method has for the name of an alias.
// data is the mount's store.
func (m *Mounts) Spell(ctx context.Context, e *Entry, data store.Store, name string) (string, error) {
	switch engine := m.engines[engineKey(e.Type, e.Auth())]; {
	case engine.Spelling != nil:
		return engine.Spelling(ctx, data, name)
	case engine.Spell != nil:
		return engine.Spell(name), nil
	}
	return name, nil
}

// HasRoles reports whether logins of a mount name a role.
func (m *Mounts) HasRoles(e *Entry) bool {
	return slices.ContainsFunc(m.engines[engineKey(e.Type, e.Auth())].Endpoints, (*api.Endpoint).NamesLoginRole)
}

// Stands reports whether a mount is at a path, for a transaction that then fails
// when it is changed, moved or disabled.
func (m *Mounts) Stands(tx *store.Tx, nsID, path, id string) (bool, error) {
	row, err := tx.Get(rowKey(nsID, path))
	e, err := whole(row, err, nsID, path)
	return e != nil && e.ID == id, err
}

// System is what applies where a mount sets no lease durations.
func (m *Mounts) System() Limits { return m.system }

// Engines are the rows of the engine table, by type.
func (m *Mounts) Engines() []api.Engine {
	out := make([]api.Engine, 0, len(m.engines))
	for _, e := range m.engines {
		out = append(out, e)
	}
	sort.Slice(out, func(i, j int) bool { return engineKey(out[i].Type, out[i].Auth) < engineKey(out[j].Type, out[j].Auth) })
	return out
}

func tablePrefix(nsID string) string  { return nsID + "/mount/at/" }
func rowKey(nsID, path string) string { return tablePrefix(nsID) + path }
func guardKey(nsID string) string     { return nsID + "/mount/guard" }
func display(path string) string      { return strings.TrimPrefix(path, authPrefix) }

// encode is a mount's row. One that is too long is the caller's mistake.
func encode(e *Entry) ([]byte, error) {
	row, err := json.Marshal(e)
	if err == nil && len(row) > maxRow {
		return nil, api.Errorf(api.Invalid, "the mount's description, options and settings are longer than %d KiB together", maxRow>>10)
	}
	return row, err
}

// conflicts reports whether one of two paths lies in the other. Case does not
// tell paths apart: two mounts never differ by it alone.
func conflicts(a, b string) bool {
	a, b = policy.Fold(a), policy.Fold(b)
	return strings.HasPrefix(a, b) || strings.HasPrefix(b, a)
}

// touch makes the transaction conflict with every other change of the table.
func touch(tx *store.Tx, nsID string) error { return tx.Touch(guardKey(nsID)) }

// hold is the table for a transaction that changes it.
func (m *Mounts) hold(tx *store.Tx, nsID string) (*Table, error) {
	if err := touch(tx, nsID); err != nil {
		return nil, err
	}
	return m.load(tx.Context(), m.store, nsID)
}

// rowOf is one mount for a transaction that changes the table; nil when there
// is none.
func (m *Mounts) rowOf(tx *store.Tx, nsID, path string) (*Entry, error) {
	if err := touch(tx, nsID); err != nil {
		return nil, err
	}
	row, err := tx.Get(rowKey(nsID, path))
	e, err := whole(row, err, nsID, path)
	if err != nil || e != nil {
		return e, err
	}
	return m.lentIn(tx, nsID, path)
}

func put(tx *store.Tx, nsID string, e *Entry) error {
	row, err := encode(e)
	tx.Put(rowKey(nsID, e.Path), row)
	return err
}

// Table is the mount table of a namespace.
func (m *Mounts) Table(ctx context.Context, nsID string) (*Table, error) {
	return m.memo.Get(ctx, nsID)
}

// Nowhere is the id of a namespace that does not exist. Its table has what every
// namespace has, so that what needs no token answers there as anywhere.
const Nowhere = "nowhere"

func (m *Mounts) load(ctx context.Context, s store.Reader, nsID string) (*Table, error) {
	if nsID == Nowhere {
		return m.bare(), nil
	}
	return m.readTable(ctx, s, nsID)
}

// builtin is a mount that every namespace has.
type builtin struct {
	path, kind, description string
	later                   bool // the first namespaces were made without it
}

// builtins are all of them.
var builtins = []builtin{
	{path: "sys/", kind: "system", description: "system endpoints used for control, policy and debugging"},
	{path: "cubbyhole/", kind: "cubbyhole", description: "per-token private secret storage"},
	{path: "auth/token/", kind: "token", description: "token based credentials"},
	{path: "identity/", kind: "identity", description: "who is behind tokens: entities, aliases and groups", later: true},
}

// bare is the table of a namespace in which nothing has been mounted.
func (m *Mounts) bare() *Table {
	t := newTable(len(builtins))
	for _, b := range builtins {
		e := m.entry(t, b.path, b.kind, b.description)
		e.Builtin, e.system = true, m.system
		e.router = m.routerFor(e)
		t.add(e)
	}
	slices.Sort(t.paths)
	return t
}

// Furnish makes the mounts that every namespace has and that this one lacks; it
// can be repeated.
func (m *Mounts) Furnish(ctx context.Context, nsID string) error {
	_, err := store.Update(ctx, m.store, func(tx *store.Tx) error {
		t, err := m.hold(tx, nsID)
		if err != nil {
			return err
		}
		for _, b := range builtins {
			if old := t.Get(b.path); old != nil && !old.lent {
				continue
			}
			e := m.entry(t, b.path, b.kind, b.description)
			e.Builtin, e.Local = true, b.kind == "cubbyhole"
			if b.kind == "token" {
				e.Config.TokenType = "default-service"
			}
			if err := put(tx, nsID, e); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// entry is a new mount for a table, with an identifier and an accessor that no
// other mount of the table has.
func (m *Mounts) entry(t *Table, path, kind, description string) *Entry {
	e := &Entry{Path: path, Type: kind, Description: description, Created: m.now().UTC()}
	accessor := kind + "_"
	if e.Auth() {
		accessor = "auth_" + accessor
	}
	for {
		e.UUID = api.NewUUID()
		e.ID, e.Accessor = e.UUID[:8]+e.UUID[28:], accessor+e.UUID[24:32] // none of the fixed bits
		if t.unused(e) {
			return e
		}
	}
}

// unused reports whether no mount has the identifier or accessor of e.
func (t *Table) unused(e *Entry) bool {
	for _, other := range t.byPath {
		if other.ID == e.ID || other.Accessor == e.Accessor {
			return false
		}
	}
	return true
}

// Claim fails when a mount of the namespace conflicts with path and makes the
// transaction conflict with any change of the table; namespaces use it.
func (m *Mounts) Claim(tx *store.Tx, nsID, path string) error {
	t, err := m.hold(tx, nsID)
	if err != nil {
		return err
	}
	for _, p := range t.paths {
		switch {
		case !conflicts(p, path):
		case t.byPath[p].Damaged():
			return errDamaged(nsID, p)
		default:
			return api.Errorf(api.Invalid, "new namespace conflicts with existing mount: %s", p)
		}
	}
	return nil
}
