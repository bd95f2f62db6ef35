package mfa

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"image/png"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
	"github.com/pquerna/otp/totp"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

func algorithms() map[string]otp.Algorithm {
	return map[string]otp.Algorithm{"SHA1": otp.AlgorithmSHA1, "SHA256": otp.AlgorithmSHA256, "SHA512": otp.AlgorithmSHA512}
}

// factor is an entity's secret for a method.
type factor struct {
	Key      string    `json:"key"`                // base32
	Step     int64     `json:"step,omitempty"`     // last time step whose passcode was taken
	Failures int       `json:"failures,omitempty"` // wrong passcodes since
	Since    time.Time `json:"since,omitzero"`
}

// judge judges a passcode of the right form, and reports whether the row is another by it. A step is taken
// once, and none before it is taken later. Beyond the allowed number of wrong ones, every passcode is
// refused unseen.
func (f *factor) judge(t *TOTP, code string, now time.Time) (right, changed bool, err error) {
	if now.Sub(f.Since) >= t.Period {
		f.Failures = 0
	}
	if f.Failures >= t.Attempts {
		return false, false, nil
	}
	step := now.Unix() / int64(t.Period/time.Second)
	for s := step - int64(t.Skew); s <= step+int64(t.Skew); s++ {
		want, err := passcode(t, f.Key, s)
		if err != nil {
			return false, false, err
		}
		if subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 && s > f.Step {
			f.Step = s
			return true, true, nil
		}
	}
	if f.Failures == 0 {
		f.Since = now.UTC()
	}
	f.Failures++
	return false, true, nil
}

// passcode is that of a time step.
func passcode(t *TOTP, key string, step int64) (string, error) {
	if step < 0 {
		return "", errors.New("mfa: the clock is before 1970")
	}
	text, err := hotp.GenerateCodeCustom(key, uint64(step), hotp.ValidateOpts{Digits: otp.Digits(t.Digits), Algorithm: algorithms()[t.Algorithm]})
	if err != nil {
		return "", fmt.Errorf("mfa: a secret cannot be read: %w", store.ErrCorrupt)
	}
	return text, nil
}

// formed reports whether a text is as many digits as a passcode has, in the one
// spelling that there is: no space, and none of the other digits of Unicode. Anything else is
// no guess, and not counted as one.
func formed(code string, digits int) bool {
	if len(code) != digits {
		return false
	}
	for i := range len(code) {
		if code[i] < '0' || code[i] > '9' {
			return false
		}
	}
	return true
}

// prove judges a passcode that an entity of a namespace shows for a method.
func (s *Store) prove(c *api.Call, ns, entity string, m *Method, code api.Secret) (right bool, err error) {
	if !formed(code.Reveal(), m.TOTP.Digits) {
		return false, nil
	}
	_, err = store.Update(c, s.Store, func(tx *store.Tx) error {
		right = false
		var f factor
		found, err := tx.LoadJSON(factorKey(ns, entity, m.ID), &f)
		if err != nil || !found {
			return err
		}
		var changed bool
		if right, changed, err = f.judge(&m.TOTP, code.Reveal(), c.Now); err != nil || !changed {
			return err
		}
		return tx.PutJSON(factorKey(ns, entity, m.ID), &f)
	})
	return right && err == nil, err
}

// GenerateRequest asks for the caller's secret.
type GenerateRequest struct {
	MethodID string `json:"method_id" audit:"clear"` // Identifier of the method.
}

// EntityMethodRequest names an entity and a method.
type EntityMethodRequest struct {
	MethodID string `json:"method_id" audit:"clear"` // Identifier of the method.
	WhoFields
}

// SecretAnswer is a new secret, as authenticator apps take it.
type SecretAnswer struct {
	Barcode api.Disclosed `json:"barcode"` // The address as a QR code: PNG in base64; empty where the method makes none.
	URL     api.Disclosed `json:"url"`     // The secret and how passcodes are made of it, as an otpauth address.
}

// generate makes the secret of the calling entity for a method. It is shown once. Where there
// is one, it stays, and nothing is shown.
func (s *Store) generate(c *api.Call, q *GenerateRequest) (*SecretAnswer, error) {
	ns, entity, err := caller(c, "totp/admin-generate")
	if err != nil {
		return nil, err
	}
	return s.makeSecret(c, ns, entity, q.MethodID)
}

// adminGenerate makes the secret of an entity for a method. It is shown once. Where there is
// one, it stays, and nothing is shown.
func (s *Store) adminGenerate(c *api.Call, q *EntityMethodRequest) (*SecretAnswer, error) {
	entity, err := q.entity(c, s)
	if err != nil {
		return nil, err
	}
	return s.makeSecret(c, c.Namespace.ID, entity, q.MethodID)
}

// label is what an authenticator calls an entity by; empty for one that there is not.
func (s *Store) label(c *api.Call, ns, entity string) (string, error) {
	who, err := s.Identity.Person(c, ns, entity)
	if err != nil || who == nil {
		return "", err
	}
	return who.Label(), nil
}

func (s *Store) makeSecret(c *api.Call, ns, entity, id string) (*SecretAnswer, error) {
	m, err := s.find(c, ns, id, typeTOTP)
	if err != nil {
		return nil, err
	}
	var key *otp.Key
	label, err := s.label(c, ns, entity)
	if err != nil {
		return nil, err
	}
	_, err = store.Update(c, s.Store, func(tx *store.Tx) error {
		key = nil
		_, there, err := s.Identity.Named(tx, ns, entity)
		switch {
		case err != nil:
			return err
		case !there:
			return errEntity()
		}
		old, err := tx.Get(factorKey(ns, entity, m.ID))
		if err != nil || old.Exists() {
			return err
		}
		if key, err = m.TOTP.mint(label); err != nil {
			return err
		}
		return tx.PutJSON(factorKey(ns, entity, m.ID), &factor{Key: key.Secret()})
	})
	switch {
	case err != nil:
		return nil, err
	case key == nil:
		c.Warn("the entity has a secret for this method already, and it is not shown again; admin-destroy removes it")
		return nil, nil
	}
	code, err := barcode(key, m.TOTP.QRSize)
	return &SecretAnswer{Barcode: api.Disclosed(code), URL: api.Disclosed(key.URL())}, err
}

// mint makes a secret for who is called so.
func (t *TOTP) mint(label string) (*otp.Key, error) {
	key, err := totp.Generate(totp.GenerateOpts{Issuer: t.Issuer, AccountName: label, Period: uint(t.Period / time.Second), SecretSize: uint(t.KeySize),
		Digits: otp.Digits(t.Digits), Algorithm: algorithms()[t.Algorithm], Rand: rand.Reader})
	if err != nil {
		return nil, errors.New("mfa: a secret could not be made") // the cause might hold it
	}
	return key, nil
}

// barcode is a PNG in base64.
func barcode(key *otp.Key, size int) (string, error) {
	if size == 0 {
		return "", nil
	}
	img, err := key.Image(size, size)
	if err != nil {
		return "", &api.Error{Kind: api.Invalid, Message: "qr_size: too small for what the barcode has to hold: the secret was made and is not shown",
			Hint: "set qr_size to 0, destroy the secret and make another"}
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		return "", errors.New("mfa: a barcode could not be made")
	}
	return base64.StdEncoding.EncodeToString(b.Bytes()), nil
}

// find is a method of a type, of a namespace or one above it.
func (s *Store) find(c *api.Call, ns, id, kind string) (*Method, error) {
	m, err := s.nearest(c, ns, id, kind)
	if err == nil && m == nil {
		err = api.Errorf(api.Invalid, "method_id: no such method")
	}
	return m, err
}

// nearest is find; nil where there is none.
func (s *Store) nearest(ctx context.Context, ns, id, kind string) (*Method, error) {
	above, err := s.Lineage(ctx, ns)
	if err != nil {
		return nil, err
	}
	for _, at := range above {
		m, err := methodOf(reading(ctx, s.Store), at, id, kind)
		if err != nil || m != nil {
			return m, err
		}
	}
	return nil, nil
}

// adminDestroy removes the secret of an entity for a method, so that another can be made, and the rights to register one.
// Until then who needs it cannot log in.
func (s *Store) adminDestroy(c *api.Call, q *EntityMethodRequest) (*api.None, error) {
	m, err := s.find(c, c.Namespace.ID, q.MethodID, typeTOTP)
	if err != nil {
		return nil, err
	}
	entity, err := q.entity(c, s)
	if err != nil {
		return nil, err
	}
	_, err = store.Update(c, s.Store, func(tx *store.Tx) error {
		tx.Delete(factorKey(c.Namespace.ID, entity, m.ID))
		return rights(c.Namespace.ID, entity).clear(tx, c.Now)
	})
	return nil, err
}
