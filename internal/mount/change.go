package mount

import (
	"context"
	"errors"
	"maps"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// maxPath bounds a mount's path, in bytes.
const maxPath = 512

func checkPath(path string) error {
	switch {
	case display(path) == "/" || display(path) == "":
		return api.Errorf(api.Invalid, "path: missing the mount's path")
	case len(path) > maxPath:
		return api.Errorf(api.Invalid, "path: longer than %d bytes", maxPath)
	case protected(path), under(path, "sys/"), under(path, "cubbyhole/"), under(path, "identity/"), path == "auth/token/", strings.HasPrefix(path, "audit/"):
		return api.Errorf(api.Invalid, "cannot mount %q", display(path))
	case strings.ContainsAny(path, "*+"):
		return api.Errorf(api.Invalid, "path: '*' and '+' have a meaning in policies and cannot be part of a mount's path")
	}
	for seg := range strings.SplitSeq(strings.TrimSuffix(path, "/"), "/") {
		if seg == "" || seg == "." || seg == ".." || strings.TrimSpace(seg) != seg {
			return api.Errorf(api.Invalid, "path: has an empty segment, or one of dots or with surrounding space")
		}
	}
	return nil
}

// aliases are other names for a type with certain options.
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

func (m *Mounts) checkOptions(e *Entry) error {
	eng, ok := m.engines[engineKey(e.Type, e.Auth())]
	if !ok || eng.Type == "system" || eng.Type == "token" || eng.Type == "cubbyhole" {
		return &api.Error{Kind: api.Invalid, Message: "plugin not found in the catalog: no engine or auth method of this type", Hint: "sys/plugins/catalog lists the types"}
	}
	if eng.CheckOptions != nil {
		if err := eng.CheckOptions(e.Options); err != nil {
			return err
		}
	} else if len(e.Options) > 0 {
		return api.Errorf(api.Invalid, "options: this type takes none")
	}
	if !m.known(e) {
		return api.Errorf(api.Invalid, "options: version must be 1 or 2")
	}
	return checkConfig(&e.Config)
}

func checkConfig(c *Config) error {
	switch {
	case c.DefaultTTL < 0:
		return api.Errorf(api.Invalid, "default_lease_ttl: must not be negative")
	case c.MaxTTL < 0:
		return api.Errorf(api.Invalid, "max_lease_ttl: must not be negative")
	case c.MaxTTL > 0 && c.DefaultTTL > c.MaxTTL:
		return api.Errorf(api.Invalid, "default_lease_ttl: is longer than max_lease_ttl")
	case c.MaxTTL == 0 && c.DefaultTTL.Std() > SystemMaxTTL:
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

// Enable adds a mount to a namespace.
func (m *Mounts) Enable(ctx context.Context, nsID string, e *Entry) error {
	if e.Type == "" {
		return api.Errorf(api.Invalid, "type: missing the type of engine or auth method")
	}
	if err := checkPath(e.Path); err != nil {
		return err
	}
	kind, options := unalias(e.Type, e.Options)
	made := m.entry(e.Path, kind, e.Description)
	made.Options, made.Config, made.Local, made.SealWrap = options, e.Config, e.Local, e.SealWrap
	if made.Auth() && made.Config.TokenType == "" {
		made.Config.TokenType = "default-service"
	}
	if err := m.checkOptions(made); err != nil {
		return err
	}
	row, err := encode(made)
	if err != nil {
		return err
	}
	_, err = store.Update(ctx, m.store, func(tx *store.Tx) error {
		if err := m.vacant(tx, nsID, made.Path, ""); err != nil {
			return err
		}
		tx.Put(rowKey(nsID, made.Path), row)
		return nil
	})
	*e = *made
	return err
}

// vacant fails when path overlaps a mount (other than except) or a namespace.
func (m *Mounts) vacant(tx *store.Tx, nsID, path, except string) error {
	if err := m.touch(tx, nsID); err != nil {
		return err
	}
	t, err := m.load(tx.Context(), m.store, nsID)
	if err != nil {
		return err
	}
	for _, p := range t.paths {
		if p != except && conflicts(p, path) {
			return inUse(display(p))
		}
		if p != except && strings.EqualFold(p, path) {
			return api.Errorf(api.Invalid, "path is already in use at %s, which differs only by case", display(p))
		}
	}
	taken, err := m.hooks.Taken(tx, nsID, path)
	if taken {
		return api.Errorf(api.Invalid, "path is already in use by a namespace")
	}
	return err
}

// Disable removes a mount and, in the background, its data. It returns the
// mount, or nil when there was none.
func (m *Mounts) Disable(ctx context.Context, nsID, path string) (*Entry, error) {
	t, err := m.load(ctx, m.store, nsID)
	if err != nil {
		return nil, err
	}
	e := t.Get(path)
	if e == nil {
		return nil, nil
	}
	if e.Builtin && e.Auth() {
		return nil, api.Errorf(api.Invalid, "token credential backend cannot be disabled")
	}
	if e.Builtin {
		return nil, api.Errorf(api.Invalid, "cannot unmount %q", display(path))
	}
	_, err = store.Update(ctx, m.store, func(tx *store.Tx) error {
		if err := m.touch(tx, nsID); err != nil {
			return err
		}
		if row, err := tx.Get(rowKey(nsID, path)); err != nil || !row.Exists() {
			return err
		}
		tx.Delete(rowKey(nsID, path))
		return m.hooks.Delete(tx, e.Prefix(nsID))
	})
	return e, err
}

// errMoved says that a mount changed under a tune or move.
var errMoved = errors.New("the mount has been moved or disabled meanwhile")

// change rewrites one mount's row.
func (m *Mounts) change(ctx context.Context, nsID, path string, fn func(*Entry) error) error {
	_, err := store.Update(ctx, m.store, func(tx *store.Tx) error {
		if err := m.touch(tx, nsID); err != nil {
			return err
		}
		t, err := m.load(tx.Context(), m.store, nsID)
		if err != nil {
			return err
		}
		e := t.Get(path)
		if e == nil {
			return api.Errorf(api.Invalid, "no mount entry found")
		}
		if row, err := tx.Get(rowKey(nsID, path)); err != nil || !row.Exists() {
			return errors.Join(err, errMoved)
		}
		if err := fn(e); err != nil {
			return err
		}
		row, err := encode(e)
		tx.Put(rowKey(nsID, path), row)
		return err
	})
	return err
}

// Move gives a mount another path; its data and accessor stay.
func (m *Mounts) Move(ctx context.Context, nsID, from, to string) error {
	if protected(from) || from == "auth/token/" {
		return api.Errorf(api.Invalid, "cannot remount %q", from)
	}
	if strings.HasPrefix(from, authPrefix) != strings.HasPrefix(to, authPrefix) {
		return api.Errorf(api.Invalid, "to: a secret engine cannot become an auth method, nor the other way round")
	}
	if err := checkPath(to); err != nil {
		return api.Errorf(api.Invalid, "cannot remount to %q: it is reserved, or not a mount's path", display(to))
	}
	_, err := store.Update(ctx, m.store, func(tx *store.Tx) error {
		if err := m.vacant(tx, nsID, to, from); err != nil {
			return err
		}
		t, err := m.load(tx.Context(), m.store, nsID)
		if err != nil {
			return err
		}
		e := t.Get(from)
		if e == nil {
			return api.Errorf(api.Invalid, "no matching mount at %q", from)
		}
		e.Path, e.MovedFrom = to, from
		row, err := encode(e)
		tx.Delete(rowKey(nsID, from))
		tx.Put(rowKey(nsID, to), row)
		return err
	})
	return err
}
