package lockout

import (
	"fmt"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// Routes are the endpoints of locked accounts.
func Routes() []api.Route[*Store] {
	return []api.Route[*Store]{
		api.Handle(api.Read, "locked-users", (*Store).Locked),
		api.Handle(api.Write, "locked-users/{mount_accessor}/unlock/{alias_identifier...}", (*Store).Unlock),
	}
}

// maxListed is how many accounts one answer names.
const maxListed = 1000

// LockedRequest asks which accounts are locked.
type LockedRequest struct {
	MountAccessor string `json:"mount_accessor"` // Of this auth method alone.
	After         string `json:"after"`          // Name those of an auth method that come behind this account.
	Limit         int    `json:"limit"`          // Name at most so many; 0, or more than 1000: 1000.
}

// LockedAnswer is the locked accounts. All are counted, also those that are not named.
type LockedAnswer struct {
	ByNamespace []LockedNamespace `json:"by_namespace"`
	Total       int               `json:"total"`
}

// LockedNamespace is those of a namespace.
type LockedNamespace struct {
	NamespaceID    string        `json:"namespace_id"`
	NamespacePath  string        `json:"namespace_path"`
	Counts         int           `json:"counts"`
	MountAccessors []LockedMount `json:"mount_accessors"`
}

// LockedMount is those of an auth method.
type LockedMount struct {
	MountAccessor    string   `json:"mount_accessor"`
	Counts           int      `json:"counts"`
	AliasIdentifiers []string `json:"alias_identifiers"`
}

// Locked tells how many accounts of the namespace are locked for wrong credentials, and names them: a thousand at most, and those
// behind them where it is asked for.
func (s *Store) Locked(c *api.Call, req *LockedRequest) (*LockedAnswer, error) {
	mounts, err := s.Mounts(c)
	if err != nil {
		return nil, err
	}
	room, cut := req.Limit, false
	if room <= 0 || room > maxListed {
		room = maxListed
	}
	ns := LockedNamespace{NamespaceID: c.Namespace.ID, NamespacePath: c.Namespace.Path, MountAccessors: []LockedMount{}}
	for _, m := range mounts {
		if req.MountAccessor != "" && m.Accessor != req.MountAccessor {
			continue
		}
		names, err := s.lockedIn(c, m)
		if err != nil {
			return nil, err
		}
		if len(names) == 0 {
			continue
		}
		at := LockedMount{MountAccessor: m.Accessor, Counts: len(names)}
		behind := 0
		if req.After != "" {
			behind, _ = slices.BinarySearch(names, req.After+"\x00")
		}
		at.AliasIdentifiers = names[behind:min(len(names), behind+room)]
		room -= len(at.AliasIdentifiers)
		cut = cut || behind+len(at.AliasIdentifiers) < len(names)
		ns.Counts += at.Counts
		ns.MountAccessors = append(ns.MountAccessors, at)
	}
	if cut {
		c.Warn("more accounts are locked than are named here: those behind the last of an auth method are named with its mount_accessor and after")
	}
	answer := &LockedAnswer{ByNamespace: []LockedNamespace{}, Total: ns.Counts}
	if ns.Counts > 0 {
		answer.ByNamespace = append(answer.ByNamespace, ns)
	}
	return answer, nil
}

func (s *Store) lockedIn(c *api.Call, m api.Mount) ([]string, error) {
	at := *c
	at.Mount = m
	settings, err := s.Settings(&at)
	if err != nil || settings.Disabled {
		return nil, err
	}
	var names []string
	damaged, err := store.SiftJSON(c, s.Store, store.Prefix(s.Rows(c.Namespace.ID, m.ID)), func(_ store.Entry, r *row) {
		for i := range r.Entries {
			if r.Entries[i].locked(settings, c.Now) {
				names = append(names, r.Entries[i].Account)
			}
		}
	})
	if len(damaged) > 0 {
		c.Warn(fmt.Sprintf("%d rows are damaged, %q the first of them: whoever they are about is refused until they are put back, and is not named here", len(damaged), damaged[0].Key))
	}
	slices.Sort(names)
	return names, err
}

// UnlockRequest names an account.
type UnlockRequest struct {
	MountAccessor   string `path:"mount_accessor"`   // Accessor of the auth method.
	AliasIdentifier string `path:"alias_identifier"` // The account: a user's name, or a role's id.
}

// Unlock forgets an account's wrong credentials. One that is not locked is as good as
// unlocked.
func (s *Store) Unlock(c *api.Call, req *UnlockRequest) (*api.None, error) {
	mounts, err := s.Mounts(c)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(mounts, func(m api.Mount) bool { return m.Accessor == req.MountAccessor })
	if i < 0 {
		return nil, api.Errorf(api.Invalid, "mount_accessor: no auth method of this namespace has it")
	}
	at := *c
	at.Mount = mounts[i]
	for _, name := range slices.Compact([]string{req.AliasIdentifier, strings.ToLower(req.AliasIdentifier)}) {
		a := &attempt{store: s, call: &at, account: name}
		if a.settings, err = s.Settings(&at); err != nil {
			return nil, err
		}
		if a.key, err = s.place(&at, at.Mount.ID, name); err != nil {
			return nil, err
		}
		if _, err = a.change((*attempt).succeed); err != nil {
			return nil, err
		}
	}
	return nil, nil
}
