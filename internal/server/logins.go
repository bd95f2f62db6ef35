package server

import (
	"cmp"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/lockout"
	"github.com/strongroom/strongroom/internal/mount"
)

// lockoutOf counts wrong credentials for all auth methods.
func (s *Server) lockoutOf(h *house) *lockout.Store {
	return lockout.New(lockout.Config{Store: s.barrier, Cache: h.Cache, Hash: keys{s.barrier}.TokenHash, Alone: s.config.alone,
		Settings: func(c *api.Call) (lockout.Settings, error) { return s.lockoutSettings(h, c) },
		Rows:     func(nsID, mountID string) string { return (&mount.Entry{ID: mountID}).Prefix(nsID) + "lockout/" },
		Mounts: func(c *api.Call) ([]api.Mount, error) {
			table, err := h.Mounts.Table(c, c.Namespace.ID)
			if err != nil {
				return nil, err
			}
			var out []api.Mount
			for _, e := range table.Entries(true) {
				if e.Refusal() == nil {
					out = append(out, e.API())
				}
			}
			return out, nil
		}})
}

// lockoutSettings are those of the call's mount: its own, then those that the
// configuration has for its type, then those that it has for all.
func (s *Server) lockoutSettings(h *house, c *api.Call) (lockout.Settings, error) {
	out := lockout.Defaults()
	lay := func(l *mount.Lockout) {
		if l == nil {
			return
		}
		out.Threshold = cmp.Or(l.Threshold, out.Threshold)
		out.Duration = cmp.Or(l.Duration.Std(), out.Duration)
		out.Reset = cmp.Or(l.Reset.Std(), out.Reset)
		if l.Disabled != nil {
			out.Disabled = *l.Disabled
		}
	}
	lay(s.config.Lockout["all"])
	lay(s.config.Lockout[c.Mount.Type])
	table, err := h.Mounts.Table(c, c.Namespace.ID)
	if err != nil {
		return out, err
	}
	e, err := table.ByID(c.Mount.ID)
	if err == nil && e != nil {
		lay(e.Config.UserLockout)
	}
	return out, err
}

// authTypes are the types of auth methods that this server has.
func authTypes() ([]string, error) {
	var engines []api.Engine
	for _, build := range mountable() {
		e, err := build()
		if err != nil {
			return nil, err
		}
		engines = append(engines, e)
	}
	return loginTypes(engines), nil
}

// readLockout reads when accounts of all auth methods, or of one type, are locked.
func (r *reader) readLockout(b *block) {
	kind := cmp.Or(strings.ToLower(b.label(0)), "all")
	types, err := authTypes()
	if err != nil {
		r.fault(b.ObjectItem, "user_lockout: %v", err)
	}
	if types = append(types, "all"); err == nil && !slices.Contains(types, kind) {
		r.fault(b.ObjectItem, "user_lockout %q: no auth method has this type%s: there are %s", kind, suggest(kind, types), strings.Join(types, ", "))
	}
	l := &mount.Lockout{}
	for _, it := range b.settings {
		if err := l.Set(keyOf(it, 0), r.text(it)); err != nil {
			r.fault(it, "user_lockout %q: %s: %v", kind, keyOf(it, 0), err)
		}
	}
	if r.config.Lockout == nil {
		r.config.Lockout = map[string]*mount.Lockout{}
	}
	r.config.Lockout[kind] = l
}
