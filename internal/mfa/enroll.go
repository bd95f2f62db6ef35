package mfa

import (
	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// FinishTOTPRequest ends a registration of a secret.
type FinishTOTPRequest struct {
	ID       api.Secret `json:"registration_id"` // What the registration was answered when it was begun, or the right to it.
	Passcode api.Secret `json:"passcode"`        // The present passcode of the secret that was shown.
}

// SecretShown is a secret that becomes the entity's when a passcode of it was shown.
type SecretShown struct {
	ID      api.Disclosed `json:"registration_id"` // To end the registration with.
	Expires api.Time      `json:"expire_time"`     // When the secret is no longer waited for.
	SecretAnswer
}

// registerTOTP begins to register a secret of the calling entity: it is shown, and becomes the entity's when
// mfa/method/totp/finish is shown a passcode of it. An entity that has one has to have it destroyed before.
func (s *Store) registerTOTP(c *api.Call, q *RegisterRequest) (*SecretShown, error) {
	ns, entity, err := caller(c, "totp/admin-register")
	if err != nil {
		return nil, err
	}
	var out *SecretShown
	id, err := s.begin(c, ns, entity, q.MethodID, typeTOTP, func(tx *store.Tx, m *Method, r *right) error {
		shown, err := s.show(c, tx, ns, m, r)
		out = shown
		return err
	})
	if err != nil {
		return nil, err
	}
	out.ID = api.Disclosed(id)
	return out, nil
}

// adminRegisterTOTP gives the right to register a secret of an entity, once. Whoever has the identifier that is answered needs
// no token for it: have the answer wrapped.
func (s *Store) adminRegisterTOTP(c *api.Call, q *AdminRegisterRequest) (*RightAnswer, error) {
	return s.give(c, q, typeTOTP)
}

// registerTOTPByRight begins to register a secret by a right that an administrator gave. It needs no token. It may be
// begun anew while the right is good; the secret that was shown before it is then good for nothing.
func (s *Store) registerTOTPByRight(c *api.Call, q *RightRequest) (*SecretShown, error) {
	ns := c.Namespace.ID
	hash, err := s.rightHash(c, ns, q.ID.Reveal())
	if err != nil {
		return nil, err
	}
	var out *SecretShown
	_, err = store.Update(c, s.Store, func(tx *store.Tx) error {
		r, m, err := s.held(c, tx, ns, hash, "", typeTOTP)
		if err != nil {
			return err
		}
		if out, err = s.show(c, tx, ns, m, r); err != nil {
			return err
		}
		return tx.PutJSON(rightKey(ns, hash), r)
	})
	if err != nil {
		return nil, err
	}
	out.ID = api.Disclosed(q.ID.Reveal())
	return out, nil
}

// show makes the secret for a registration.
func (s *Store) show(c *api.Call, tx *store.Tx, ns string, m *Method, r *right) (*SecretShown, error) {
	if err := s.lacksSecret(tx, ns, r.Entity, m); err != nil {
		return nil, err
	}
	label, err := s.label(c, ns, r.Entity)
	if err != nil {
		return nil, err
	}
	key, err := m.TOTP.mint(label)
	if err != nil {
		return nil, err
	}
	r.Secret = key.Secret()
	r.shown(c.Now)
	code, err := barcode(key, m.TOTP.QRSize)
	return &SecretShown{Expires: api.Time{Time: r.Until}, SecretAnswer: SecretAnswer{Barcode: api.Disclosed(code), URL: api.Disclosed(key.URL())}}, err
}

// lacksSecret refuses a secret for an entity that is gone, or has one.
func (s *Store) lacksSecret(tx *store.Tx, ns, entity string, m *Method) error {
	_, there, err := s.Identity.Named(tx, ns, entity)
	switch {
	case err != nil:
		return err
	case !there:
		return denied("whose secret it was to be is gone")
	}
	old, err := tx.Get(factorKey(ns, entity, m.ID))
	if err == nil && old.Exists() {
		err = &api.Error{Kind: api.Invalid, Message: "the entity has a secret for this method already", Hint: "who has lost it has an administrator remove it: identity/mfa/method/totp/admin-destroy"}
	}
	return err
}

// finishTOTP makes the secret that was shown the calling entity's, when a passcode of it is right. That passcode is used by it.
func (s *Store) finishTOTP(c *api.Call, q *FinishTOTPRequest) (*api.None, error) {
	ns, entity, err := caller(c, "totp/admin-register")
	if err != nil {
		return nil, err
	}
	return nil, s.confirm(c, ns, entity, q)
}

// finishTOTPByRight makes the secret that was shown the entity's whose the right is, when a passcode of it is right. It needs no
// token, and uses the right and the passcode up.
func (s *Store) finishTOTPByRight(c *api.Call, q *FinishTOTPRequest) (*api.None, error) {
	return nil, s.confirm(c, c.Namespace.ID, "", q)
}

// confirm keeps a secret that was shown, and uses the right to it up in the same commit. A wrong passcode is not counted: who
// shows it has been shown the secret.
func (s *Store) confirm(c *api.Call, ns, entity string, q *FinishTOTPRequest) error {
	hash, err := s.rightHash(c, ns, q.ID.Reveal())
	if err != nil {
		return err
	}
	_, err = store.Update(c, s.Store, func(tx *store.Tx) error {
		r, m, err := s.held(c, tx, ns, hash, entity, typeTOTP)
		switch {
		case err != nil:
			return err
		case r.Secret == "" || !r.Until.After(c.Now):
			return api.Errorf(api.Invalid, "registration_id: too late, or no secret was shown: begin anew")
		}
		if err := s.lacksSecret(tx, ns, r.Entity, m); err != nil {
			return err
		}
		f, right := &factor{Key: r.Secret}, false
		if formed(q.Passcode.Reveal(), m.TOTP.Digits) {
			if right, _, err = f.judge(&m.TOTP, q.Passcode.Reveal(), c.Now); err != nil {
				return err
			}
		}
		if !right {
			return &api.Error{Kind: api.Invalid, Message: "passcode: not the present one of the secret that was shown", Hint: "see that the clock of the device is right, and that it shows the newest secret"}
		}
		if err := tx.PutJSON(factorKey(ns, r.Entity, m.ID), f); err != nil {
			return err
		}
		return rights(ns, r.Entity).remove(tx, queued{hash, r.Expires}, c.Now)
	})
	return err
}
