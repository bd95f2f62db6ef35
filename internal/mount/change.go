package mount

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/policy"
	"github.com/strongroom/strongroom/internal/store"
)

// maxPath bounds a mount's path, in bytes.
const maxPath = 512

// ours are the first segments that no mount can have.
func ours(path string) bool {
	first, _, _ := strings.Cut(policy.Fold(path), "/")
	switch first {
	case "sys", "cubbyhole", "identity", "audit", "root":
		return true
	}
	return false
}

func checkPath(path string) error {
	name := display(path)
	switch {
	case name == "/" || name == "":
		return api.Errorf(api.Invalid, "path: missing the mount's path")
	case len(path) > maxPath:
		return api.Errorf(api.Invalid, "path: longer than %d bytes", maxPath)
	case ours(path), !strings.HasPrefix(path, authPrefix) && strings.HasPrefix(policy.Fold(path), authPrefix):
		return api.Errorf(api.Invalid, "cannot mount %q", name)
	case strings.ContainsAny(path, "*+{}"):
		return api.Errorf(api.Invalid, "path: '*', '+', '{' and '}' have a meaning in policies and cannot be part of a mount's path")
	case strings.HasSuffix(path, "/tune/"):
		return api.Errorf(api.Invalid, "path: its last segment must not be tune, which the endpoint that tunes a mount ends in")
	}
	if _, err := policy.Canonical(path); err != nil {
		return api.Errorf(api.Invalid, "path: %v", err)
	}
	return nil
}

// unalias replaces the other names for a type with certain options.
func unalias(kind string, options map[string]string) (string, map[string]string) {
	if kind != "kv-v2" && kind != "kv-v1" && kind != "generic" {
		return kind, options
	}
	out := maps.Clone(options)
	if out == nil {
		out = map[string]string{}
	}
	out["version"] = "1"
	if kind == "kv-v2" {
		out["version"] = "2"
	}
	return "kv", out
}

// mountable names the types that can be mounted.
func (m *Mounts) mountable(auth bool) string {
	var kinds []string
	for _, eng := range m.engines {
		if eng.Auth == auth && !builtinKind(eng.Type) {
			kinds = append(kinds, eng.Type)
		}
	}
	if slices.Sort(kinds); len(kinds) == 0 {
		return "this version has none that can be enabled"
	}
	return "this version has: " + strings.Join(kinds, ", ")
}

// builtinKind reports whether a type is mounted once in each namespace, and
// not to be mounted again.
func builtinKind(kind string) bool {
	return slices.ContainsFunc(builtins, func(b builtin) bool { return b.kind == kind })
}

// check judges a mount's type, options and settings.
func (m *Mounts) check(e *Entry) error {
	eng, ok := m.engines[engineKey(e.Type, e.Auth())]
	switch {
	case !ok:
		return &api.Error{Kind: api.Invalid, Message: "plugin not found in the catalog: no engine or auth method of this type", Hint: m.mountable(e.Auth())}
	case builtinKind(eng.Type):
		return api.Errorf(api.Invalid, "mount type of %q is not mountable", eng.Type)
	}
	if err := m.checkOptions(&eng, e); err != nil {
		return err
	}
	if !e.Auth() && e.Config.TokenType != "" {
		return api.Errorf(api.Invalid, "token_type: only an auth method has one")
	}
	return m.checkConfig(&e.Config)
}

func (m *Mounts) checkOptions(eng *api.Engine, e *Entry) error {
	if eng.CheckOptions == nil && len(e.Options) > 0 {
		return api.Errorf(api.Invalid, "options: this type takes none")
	}
	if eng.CheckOptions != nil {
		if err := eng.CheckOptions(e.Options); err != nil {
			return err
		}
	}
	if m.routerFor(e) == nil {
		return api.Errorf(api.Invalid, "options: version must be 1 or 2")
	}
	return nil
}

func (m *Mounts) checkConfig(c *Config) error {
	switch {
	case c.DefaultTTL < 0:
		return api.Errorf(api.Invalid, "default_lease_ttl: must not be negative")
	case c.MaxTTL < 0:
		return api.Errorf(api.Invalid, "max_lease_ttl: must not be negative")
	case c.MaxTTL > 0 && c.DefaultTTL > c.MaxTTL:
		return api.Errorf(api.Invalid, "default_lease_ttl: is longer than max_lease_ttl")
	case c.MaxTTL == 0 && c.DefaultTTL.Std() > m.system.Max:
		return api.Errorf(api.Invalid, "default_lease_ttl: is longer than the system's maximum")
	}
	switch c.ListingVisibility {
	case "", "hidden", "unauth":
	default:
		return api.Errorf(api.Invalid, "listing_visibility: must be hidden or unauth")
	}
	switch c.TokenType {
	case "", "default-service", "default-batch", "service", "batch":
	default:
		return api.Errorf(api.Invalid, "token_type: must be default-service, default-batch, service or batch")
	}
	return nil
}

// Enable adds a mount to a namespace and fills e in.
func (m *Mounts) Enable(ctx context.Context, nsID string, e *Entry) error {
	if e.Type == "" {
		return api.Errorf(api.Invalid, "type: missing the type of engine or auth method")
	}
	if err := checkPath(e.Path); err != nil {
		return err
	}
	e.Type, e.Options = unalias(e.Type, e.Options)
	if e.Options == nil {
		e.Options = map[string]string{}
	}
	if e.Auth() && e.Config.TokenType == "" {
		e.Config.TokenType = "default-service"
	}
	if err := m.check(e); err != nil {
		return err
	}
	_, err := store.Update(ctx, m.store, func(tx *store.Tx) error {
		t, err := m.hold(tx, nsID)
		if err != nil {
			return err
		}
		if err := m.vacant(tx, t, nsID, e.Path, ""); err != nil {
			return err
		}
		made := m.entry(t, e.Path, e.Type, e.Description)
		e.ID, e.UUID, e.Accessor, e.Created = made.ID, made.UUID, made.Accessor, made.Created
		return put(tx, nsID, e)
	})
	return err
}

// vacant fails when path overlaps a mount (other than except) or a namespace.
func (m *Mounts) vacant(tx *store.Tx, t *Table, nsID, path, except string) error {
	for _, p := range t.paths {
		switch {
		case p == except || !conflicts(p, path):
		case t.byPath[p].Damaged():
			return errDamaged(nsID, p)
		default:
			return api.Errorf(api.Invalid, "path is already in use at %s", display(p))
		}
	}
	taken, err := m.hooks.Taken(tx, nsID, path)
	if err == nil && taken {
		return api.Errorf(api.Invalid, "path is already in use by a namespace")
	}
	return err
}

// Disable removes a mount and, in the background, its data. It returns the
// mount, or nil when there was none.
func (m *Mounts) Disable(ctx context.Context, nsID, path string) (*Entry, error) {
	var e *Entry
	_, err := store.Update(ctx, m.store, func(tx *store.Tx) (err error) {
		if e, err = m.rowOf(tx, nsID, path); err != nil || e == nil {
			return err
		}
		switch {
		case e.Builtin && e.Auth():
			return api.Errorf(api.Invalid, "token credential backend cannot be disabled")
		case e.Builtin:
			return api.Errorf(api.Invalid, "cannot unmount %q", path)
		}
		tx.Delete(rowKey(nsID, path))
		if m.hooks.Removed != nil {
			if err := m.hooks.Removed(tx, nsID, e); err != nil {
				return err
			}
		}
		return m.hooks.Delete(tx, e.Prefix(nsID))
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

// Upkeep has a mount's engine put the mount's store in order. A mount that is not
// there, or whose engine needs none, is in order.
func (m *Mounts) Upkeep(ctx context.Context, nsID, id string) error {
	t, err := m.load(ctx, m.store, nsID)
	if err != nil {
		return err
	}
	e, err := t.ByID(id)
	if err != nil || e == nil {
		return err
	}
	upkeep := m.engines[engineKey(e.Type, e.Auth())].Upkeep
	if upkeep == nil {
		return nil
	}
	if err := upkeep(ctx, store.Sub(m.store, e.Prefix(nsID)), m.now()); err != nil {
		return fmt.Errorf("upkeep of mount %s: %w", id, err)
	}
	return nil
}

// change rewrites one mount's row.
func (m *Mounts) change(ctx context.Context, nsID, path string, fn func(*Entry) error) error {
	_, err := store.Update(ctx, m.store, func(tx *store.Tx) error {
		e, err := m.rowOf(tx, nsID, path)
		if err != nil {
			return err
		}
		if e == nil {
			return api.Errorf(api.Invalid, "tune of path %q failed: no mount entry found", path)
		}
		if err := fn(e); err != nil {
			return err
		}
		return put(tx, nsID, e)
	})
	return err
}

// Move gives a mount another path; its data and accessor stay.
func (m *Mounts) Move(ctx context.Context, nsID, from, to string) error {
	if strings.HasPrefix(from, authPrefix) != strings.HasPrefix(to, authPrefix) {
		return api.Errorf(api.Invalid, "to: a secret engine cannot become an auth method, nor the other way round")
	}
	if from == to {
		return api.Errorf(api.Invalid, "path is already in use at %s", display(to))
	}
	if err := checkPath(to); err != nil {
		return err
	}
	_, err := store.Update(ctx, m.store, func(tx *store.Tx) error { return m.move(tx, nsID, from, to) })
	return err
}

func (m *Mounts) move(tx *store.Tx, nsID, from, to string) error {
	t, err := m.hold(tx, nsID)
	if err != nil {
		return err
	}
	e, err := m.rowOf(tx, nsID, from)
	if err != nil {
		return err
	}
	switch {
	case e == nil:
		return api.Errorf(api.Invalid, "no matching mount at %q", from)
	case e.Builtin:
		return api.Errorf(api.Invalid, "cannot remount %q", from)
	}
	if err := m.vacant(tx, t, nsID, to, from); err != nil {
		return err
	}
	e.Path, e.MovedFrom = to, from
	tx.Delete(rowKey(nsID, from))
	if m.hooks.Moved != nil {
		if err := m.hooks.Moved(tx, nsID, from, e); err != nil {
			return err
		}
	}
	return put(tx, nsID, e)
}
