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

// readLockout reads when accounts of all auth methods, or of one type, are locked.
func (r *reader) readLockout(b *block) {
	kind := cmp.Or(strings.ToLower(b.label(0)), "all")
	if kinds := methods(); kind != "all" && !slices.Contains(kinds, kind) {
		r.fault(b.ObjectItem, "user_lockout %q: is neither all nor a type of auth method%s", kind, suggest(kind, append([]string{"all"}, kinds...)))
	}
	l := &mount.Lockout{}
	for _, it := range b.settings {
		key := keyOf(it, 0)
		if own := configured(key); own != key { // as a tune of a mount has it
			r.fault(it, "user_lockout %q: %s: is called %s in a configuration", kind, key, own)
		} else if err := l.Set(key, r.text(it)); err != nil {
			r.fault(it, "user_lockout %q: %s: %s", kind, key, configured(err.Error()))
		}
	}
	if r.config.Lockout == nil {
		r.config.Lockout = map[string]*mount.Lockout{}
	}
	r.config.Lockout[kind] = l
}

// configured is a text about tunes of a mount with the names that settings have in a configuration.
func configured(text string) string {
	return strings.NewReplacer("lockout_counter_reset_duration", "lockout_counter_reset", "lockout_disable", "disable_lockout").Replace(text)
}

// methods are the types of auth method.
func methods() (types []string) {
	for _, make := range mountable() {
		if e, err := make(); err == nil && e.Auth {
			types = append(types, e.Type)
		}
	}
	return types
}
