package mfa

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
)

// The types of method.
const (
	typeTOTP     = "totp"     // passcodes by time (RFC 6238)
	typeWebAuthn = "webauthn" // passkeys
)

// Method is a way to prove a second factor. It is shared: it must not be modified.
type Method struct {
	ID       string   `json:"id"`
	Type     string   `json:"type"`
	Name     string   `json:"name,omitempty"`
	TOTP     TOTP     `json:"totp,omitzero"`
	WebAuthn WebAuthn `json:"webauthn,omitzero"`
}

// check refuses what no method can be.
func (m *Method) check() error {
	switch m.Type {
	case typeTOTP:
		return m.TOTP.check()
	case typeWebAuthn:
		return m.WebAuthn.check()
	}
	return fmt.Errorf("mfa: a method of another type: %w", store.ErrCorrupt)
}

// TOTP is how passcodes are made of a secret and the time.
type TOTP struct {
	Issuer    string        `json:"issuer"`
	Period    time.Duration `json:"period"`
	KeySize   int           `json:"key_size"` // bytes
	QRSize    int           `json:"qr_size"`  // pixels; 0: no barcode
	Algorithm string        `json:"algorithm"`
	Digits    int           `json:"digits"`
	Skew      int           `json:"skew"`     // steps before and after the present that are taken
	Attempts  int           `json:"attempts"` // wrong passcodes in a period
}

func usualTOTP() TOTP {
	return TOTP{Period: 30 * time.Second, KeySize: 20, QRSize: 200, Algorithm: "SHA1", Digits: 6, Skew: 1, Attempts: 5}
}

// TOTPFields are how passcodes are made; what is absent stays as it was.
type TOTPFields struct {
	MethodName *string       `json:"method_name" audit:"clear"` // Name by which clients may name the method; unique in the namespace.
	Issuer     *string       `json:"issuer" audit:"clear"`      // Name that authenticator apps show; needed.
	Period     *api.Duration `json:"period"`                    // How long a passcode is the present one; 30 seconds.
	KeySize    *int          `json:"key_size"`                  // Size of secrets in bytes, 16 to 128; 20.
	QRSize     *int          `json:"qr_size"`                   // Size of barcodes in pixels, up to 1000; 0 makes none.
	Algorithm  *string       `json:"algorithm" audit:"clear"`   // SHA1, SHA256 or SHA512.
	Digits     *int          `json:"digits"`                    // Digits of a passcode: 6 or 8.
	Skew       *int          `json:"skew"`                      // Periods before and after the present one whose passcode is taken: 0 or 1.
	Attempts   *int          `json:"max_validation_attempts"`   // Wrong passcodes that an entity may show in a period, on all nodes together; 5.
}

// apply changes a method as asked, and refuses what no method can be.
func (f *TOTPFields) apply(m *Method) error {
	t := &m.TOTP
	api.Set(&m.Name, f.MethodName)
	api.Set(&t.Issuer, f.Issuer)
	api.Set((*api.Duration)(&t.Period), f.Period)
	api.Set(&t.KeySize, f.KeySize)
	api.Set(&t.QRSize, f.QRSize)
	api.Set(&t.Digits, f.Digits)
	api.Set(&t.Skew, f.Skew)
	api.Set(&t.Attempts, f.Attempts)
	if f.Algorithm != nil {
		t.Algorithm = strings.ToUpper(*f.Algorithm)
	}
	return errors.Join(checkText("method_name", m.Name, maxName), t.check())
}

func (t *TOTP) check() error {
	_, known := algorithms()[t.Algorithm]
	switch {
	case t.Issuer == "":
		return api.Errorf(api.Invalid, "issuer: missing")
	case t.Period < time.Second || t.Period > time.Hour || t.Period%time.Second != 0:
		return api.Errorf(api.Invalid, "period: must be whole seconds, from one to an hour")
	case t.KeySize < 16 || t.KeySize > 128:
		return api.Errorf(api.Invalid, "key_size: must be from 16 to 128 bytes")
	case t.QRSize < 0 || t.QRSize > 1000 || t.QRSize > 0 && t.QRSize < 100:
		return api.Errorf(api.Invalid, "qr_size: must be 0, or from 100 to 1000 pixels")
	case !known:
		return api.Errorf(api.Invalid, "algorithm: must be SHA1, SHA256 or SHA512")
	case t.Digits != 6 && t.Digits != 8:
		return api.Errorf(api.Invalid, "digits: must be 6 or 8")
	case t.Skew != 0 && t.Skew != 1:
		return api.Errorf(api.Invalid, "skew: must be 0 or 1")
	case t.Attempts < 1 || t.Attempts > 1000:
		return api.Errorf(api.Invalid, "max_validation_attempts: must be from 1 to 1000")
	}
	return checkText("issuer", t.Issuer, maxIssuer)
}

// TOTPRequest makes a method, or changes the one that its name says.
type TOTPRequest struct {
	TOTPFields
}

// TOTPByIDRequest changes a method.
type TOTPByIDRequest struct {
	MethodID api.Name `path:"method_id"` // Identifier of the method.
	TOTPFields
}

// MethodMade tells of a method that was written.
type MethodMade struct {
	MethodID string `json:"method_id" audit:"clear"`
}

// writeTOTP makes a method by which logins are proved with passcodes of an authenticator app.
func (s *Store) writeTOTP(c *api.Call, q *TOTPRequest) (*MethodMade, error) {
	return s.writeMethod(c, &Method{ID: api.NewUUID(), Type: typeTOTP, TOTP: usualTOTP()}, q.apply)
}

// writeTOTPByID changes a method. Secrets that were made before keep their size; all else holds for
// them at once.
func (s *Store) writeTOTPByID(c *api.Call, q *TOTPByIDRequest) (*MethodMade, error) {
	return s.changeMethod(c, string(q.MethodID), typeTOTP, q.apply)
}

// writeMethod keeps a method that is new.
func (s *Store) writeMethod(c *api.Call, usual *Method, apply func(*Method) error) (*MethodMade, error) {
	_, err := store.Update(c, s.Store, func(tx *store.Tx) error {
		m := *usual
		if err := apply(&m); err != nil {
			return err
		}
		return putMethod(tx, c.Namespace.ID, &m, "")
	})
	if err != nil {
		return nil, err
	}
	return &MethodMade{usual.ID}, nil
}

// changeMethod changes a method of a type.
func (s *Store) changeMethod(c *api.Call, id, kind string, apply func(*Method) error) (*MethodMade, error) {
	_, err := store.Update(c, s.Store, func(tx *store.Tx) error {
		m, err := methodOf(tx.Get, c.Namespace.ID, id, kind)
		switch {
		case err != nil:
			return err
		case m == nil:
			return &api.Error{Kind: api.NotFound, Message: "method_id: no method of this namespace and type has it", Hint: "see identity/mfa/method"}
		}
		old := m.Name
		if err := apply(m); err != nil {
			return err
		}
		return putMethod(tx, c.Namespace.ID, m, old)
	})
	if err != nil {
		return nil, err
	}
	return &MethodMade{id}, nil
}

func putMethod(tx *store.Tx, ns string, m *Method, old string) error {
	if err := rename(tx, ns, m, old); err != nil {
		return err
	}
	return tx.PutJSON(methodKey(ns, m.ID), m)
}

// rename gives a method the row of its name.
func rename(tx *store.Tx, ns string, m *Method, old string) error {
	if spell(old) == spell(m.Name) {
		return nil
	}
	if old != "" {
		tx.Delete(nameKey(ns, old))
	}
	if m.Name == "" {
		return nil
	}
	e, err := tx.Get(nameKey(ns, m.Name))
	switch {
	case err != nil:
		return err
	case e.Exists():
		return api.Errorf(api.Invalid, "method_name: a method of this namespace has the name already, if in another case")
	}
	tx.Put(nameKey(ns, m.Name), []byte(m.ID))
	return nil
}

// methodIn is a method of a namespace; nil: there is none.
func methodIn(read func(string) (store.Entry, error), ns, id string) (*Method, error) {
	if !isID(id) {
		return nil, nil
	}
	e, err := read(methodKey(ns, id))
	if err != nil || !e.Exists() {
		return nil, err
	}
	m, err := store.DecodeJSON[Method](e)
	if err == nil && (m.ID != id || m.check() != nil) {
		err = fmt.Errorf("mfa: method %s cannot be read: %w", id, store.ErrCorrupt)
	}
	return m, err
}

// methodOf is a method of a namespace and a type; nil: there is none.
func methodOf(read func(string) (store.Entry, error), ns, id, kind string) (*Method, error) {
	m, err := methodIn(read, ns, id)
	if err != nil || m == nil || m.Type != kind {
		return nil, err
	}
	return m, nil
}

// reading is a Reader's Get within a context.
func reading(ctx context.Context, r store.Reader) func(string) (store.Entry, error) {
	return func(key string) (store.Entry, error) { return r.Get(ctx, key) }
}

// MethodRequest names a method.
type MethodRequest struct {
	MethodID api.Name `path:"method_id"` // Identifier of the method.
}

// MethodAnswer is a method as it is read. Which fields it has is by its type.
type MethodAnswer struct {
	Algorithm     string       `json:"algorithm,omitempty" audit:"clear"`                  // Of totp.
	Digits        int          `json:"digits,omitempty"`                                   // Of totp.
	ID            string       `json:"id" audit:"clear"`                                   // Identifier.
	Issuer        string       `json:"issuer,omitempty" audit:"clear"`                     // Of totp.
	KeySize       int          `json:"key_size,omitempty"`                                 // Of totp.
	MaxPasskeys   int          `json:"max_passkeys,omitempty"`                             // Of webauthn.
	Attempts      int          `json:"max_validation_attempts"`                            // Wrong ones in a period.
	Name          string       `json:"name" audit:"clear"`                                 // By which clients may name it.
	NamespaceID   string       `json:"namespace_id" audit:"clear"`                         // Namespace that it is of.
	NamespacePath string       `json:"namespace_path" audit:"clear"`                       // Namespace that it is of.
	Origins       []string     `json:"origins,omitempty" audit:"clear"`                    // Of webauthn.
	Period        api.Duration `json:"period"`                                             // In which wrong ones are counted.
	QRSize        *int         `json:"qr_size,omitempty"`                                  // Of totp.
	PartyID       string       `json:"relying_party_id,omitempty" audit:"clear"`           // Of webauthn.
	PartyName     string       `json:"relying_party_display_name,omitempty" audit:"clear"` // Of webauthn.
	Skew          *int         `json:"skew,omitempty"`                                     // Of totp.
	Type          string       `json:"type" audit:"clear"`                                 // totp or webauthn.
	Verification  string       `json:"user_verification,omitempty" audit:"clear"`          // Of webauthn.
}

func (m *Method) answer(ns api.Namespace) *MethodAnswer {
	a := &MethodAnswer{ID: m.ID, Name: m.Name, NamespaceID: ns.ID, NamespacePath: ns.Path, Type: m.Type}
	if m.Type == typeWebAuthn {
		v := &m.WebAuthn
		a.MaxPasskeys, a.Attempts, a.Period, a.Origins = v.Most, v.Attempts, api.Duration(attemptPeriod), v.Origins
		a.PartyID, a.PartyName, a.Verification = v.PartyID, v.PartyName, v.Verification
		return a
	}
	t := m.TOTP
	a.Algorithm, a.Digits, a.Issuer, a.KeySize, a.Attempts = t.Algorithm, t.Digits, t.Issuer, t.KeySize, t.Attempts
	a.Period, a.QRSize, a.Skew = api.Duration(t.Period), &t.QRSize, &t.Skew
	return a
}

// readMethod describes a method.
func (s *Store) readMethod(c *api.Call, q *MethodRequest) (*MethodAnswer, error) {
	m, err := methodIn(reading(c, s.Store), c.Namespace.ID, string(q.MethodID))
	return s.told(c, m, err, string(q.MethodID), typeTOTP, typeWebAuthn)
}

// readTOTP describes a method of type totp.
func (s *Store) readTOTP(c *api.Call, q *MethodRequest) (*MethodAnswer, error) {
	m, err := methodOf(reading(c, s.Store), c.Namespace.ID, string(q.MethodID), typeTOTP)
	return s.told(c, m, err, string(q.MethodID), typeTOTP)
}

// told is the answer to who reads a method of some types. One of a namespace above is not shown, but said to be there: secrets
// for it are made in this one.
func (s *Store) told(c *api.Call, m *Method, err error, id string, kinds ...string) (*MethodAnswer, error) {
	switch {
	case err != nil:
		return nil, err
	case m != nil:
		return m.answer(c.Namespace), nil
	}
	for _, kind := range kinds {
		above, err := s.nearest(c, c.Namespace.ID, id, kind)
		switch {
		case err != nil:
			return nil, err
		case above != nil:
			return nil, &api.Error{Kind: api.NotFound, Message: "the method is of a namespace above, where it is read; it is good for the entities of this one, too"}
		}
	}
	return nil, api.ErrNotFound()
}

// listMethods lists the identifiers of the methods, with what they are.
func (s *Store) listMethods(c *api.Call, _ *api.None) (*api.Keys, error) {
	return s.list(c, func(*Method) bool { return true })
}

// listTOTP lists the identifiers of the methods of type totp, with what they are.
func (s *Store) listTOTP(c *api.Call, _ *api.None) (*api.Keys, error) {
	return s.list(c, func(m *Method) bool { return m.Type == typeTOTP })
}

func (s *Store) list(c *api.Call, which func(*Method) bool) (*api.Keys, error) {
	out := &api.Keys{Info: map[string]any{}}
	damaged, err := store.SiftJSON(c, s.Store, store.Prefix(area(c.Namespace.ID, "method")), func(_ store.Entry, m *Method) {
		if which(m) {
			out.Keys, out.Info[m.ID] = append(out.Keys, m.ID), m.answer(c.Namespace)
		}
	})
	if len(damaged) > 0 {
		c.Warn(fmt.Sprintf("%d more rows are damaged and cannot be told", len(damaged)))
	}
	return out, err
}

// removeTOTP deletes a method and the secrets for it. One that an enforcement needs stays.
func (s *Store) removeTOTP(c *api.Call, q *MethodRequest) (*api.None, error) {
	return s.removeMethod(c, string(q.MethodID), typeTOTP)
}

func (s *Store) removeMethod(c *api.Call, id, kind string) (*api.None, error) {
	ns := c.Namespace.ID
	_, err := store.Update(c, s.Store, func(tx *store.Tx) error {
		m, err := methodOf(tx.Get, ns, id, kind)
		if err != nil || m == nil {
			return err
		}
		rules, err := loadRules(tx.Context(), s.Store, ns) // each of them that is written touches the method's row
		if err != nil {
			return err
		}
		for _, r := range rules {
			if r.asks(id) {
				return &api.Error{Kind: api.Invalid, Message: "method_id: an enforcement needs the method", Hint: "see them with: strongroom list identity/mfa/login-enforcement"}
			}
		}
		if m.Name != "" {
			tx.Delete(nameKey(ns, m.Name))
		}
		tx.Delete(methodKey(ns, id))
		return schedule.Add(tx, schedule.Item{Namespace: ns, At: c.Now, Kind: kindMethod, ID: id})
	})
	return nil, err
}
