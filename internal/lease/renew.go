package lease

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// errNoLease is what a renewal of a lease that is not in force is answered,
// whether there ever was one or not.
var errNoLease = errors.New("lease: not in force")

func errUnknown() error { return api.Errorf(api.Invalid, "lease not found") }

// Renew makes a lease of the call's namespace last for increment from now on; 0:
// for as long as usual. It may last less: see the answer's warnings.
func (s *Store) renew(c *api.Call, id string, increment time.Duration) (*Lease, error) {
	l, err := s.load(c, c.Namespace.ID, id)
	switch {
	case err != nil:
		return nil, err
	case l == nil || !l.Alive(c.Now):
		return nil, errUnknown()
	case !l.Renewable:
		return nil, api.Errorf(api.Invalid, "lease is not renewable")
	}
	m, err := s.lessor(c, l.NamespaceID, l.MountID)
	if err != nil {
		return nil, err
	}
	changed, err := m.renew(c, l, increment)
	if err != nil {
		return nil, err
	}
	renewed, warning, err := s.commitRenewal(c, m, l, changed, increment)
	if errors.Is(err, errNoLease) {
		s.revokeAgain(c, l)
		return nil, errUnknown()
	}
	if warning != "" {
		c.Warn(warning)
	}
	return renewed, err
}

// renew has the engine make what was lent live on.
func (m *lessor) renew(c *api.Call, l *Lease, increment time.Duration) (changed *api.Lease, err error) {
	call, kind, err := m.call(c, c.Now, l)
	if err != nil {
		return nil, err
	}
	call.RequestID = c.RequestID
	if kind.Renew == nil {
		return &api.Lease{}, nil
	}
	defer recovered(&err)
	held := l.held()
	held.Increment = increment
	changed, err = kind.Renew(call, held)
	if changed == nil {
		changed = &api.Lease{}
	}
	if err == nil {
		err = checkPrivate(changed.Private)
	}
	return changed, err
}

// commitRenewal writes a lease's new time. It returns errNoLease when the lease, or
// the token that it dies with, has ended meanwhile.
func (s *Store) commitRenewal(c *api.Call, m *lessor, old *Lease, changed *api.Lease, increment time.Duration) (l *Lease, warning string, err error) {
	ctx := context.WithoutCancel(c)
	most := m.entry.API().MaxTTL
	_, err = store.Update(ctx, s.Store, func(tx *store.Tx) error {
		if l, err = read(tx, old.NamespaceID, old.ID); err != nil {
			return err
		}
		if l == nil || !l.Alive(s.Now()) {
			return errNoLease
		}
		if l.Holder != "" {
			err := s.Tokens.Hold(tx, l.HolderNS, l.Holder, s.Now())
			if api.KindOf(err) == api.Denied {
				return errNoLease
			}
			if err != nil {
				return err
			}
		}
		if warning, err = l.extend(c.Now, most, l.apply(changed, increment)); err != nil {
			return err
		}
		l.Renewed = c.Now
		return l.put(tx, l.Expires)
	})
	return l, warning, err
}

// apply takes over what an engine changed and is how long the lease is to last.
func (l *Lease) apply(changed *api.Lease, increment time.Duration) time.Duration {
	if changed.MaxTTL > 0 {
		l.MaxTTL = changed.MaxTTL
	}
	if changed.Private != nil {
		l.Private = changed.Private
	}
	switch {
	case changed.TTL > 0:
		return changed.TTL
	case increment > 0:
		return increment
	}
	return l.Usual
}

// revokeAgain takes back what an engine may have renewed after it had taken it
// back: the lease ended while it was being renewed.
func (s *Store) revokeAgain(c *api.Call, l *Lease) {
	if err := s.takeBack(context.WithoutCancel(c), l); err != nil && !errors.Is(err, ErrQuarantined) {
		s.Log.Warn("a lease that ended while it was renewed was not taken back again", slog.String("lease", l.ID), slog.Any("error", err))
	}
}
