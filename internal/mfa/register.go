package mfa

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
)

// How long a right to register a second factor is good for.
const (
	usualRight = time.Hour
	maxRight   = 24 * time.Hour
)

// right is one to register a passkey or a secret of an entity, once.
type right struct {
	Entity    string    `json:"entity"`
	Method    string    `json:"method"`
	Own       bool      `json:"own,omitempty"` // begun by the entity itself: whoever ends it must be the entity
	Expires   time.Time `json:"expires"`
	Challenge string    `json:"challenge,omitempty"` // empty: none was asked for
	Until     time.Time `json:"until,omitzero"`      // when the challenge is too old
	Handle    []byte    `json:"handle,omitempty"`
	Secret    string    `json:"secret,omitempty"` // of passcodes, that was shown and is not confirmed; Until bounds it, too
}

// RegisterRequest begins to register a second factor of the caller.
type RegisterRequest struct {
	MethodID string `json:"method_id" audit:"clear"` // Identifier of the method.
}

// AdminRegisterRequest gives somebody the right to register a second factor.
type AdminRegisterRequest struct {
	MethodID string       `json:"method_id" audit:"clear"` // Identifier of the method.
	TTL      api.Duration `json:"ttl" default:"1h"`        // How long the right is good for, up to a day.
	WhoFields
}

// RightRequest shows a right to register a second factor.
type RightRequest struct {
	ID api.Secret `json:"registration_id"` // What admin-register has answered.
}

// FinishRequest ends a registration.
type FinishRequest struct {
	ID         api.Secret `json:"registration_id"`    // What the registration was answered when it was begun, or the right to it.
	Name       string     `json:"name" audit:"clear"` // What the person calls the passkey.
	Credential api.Object `json:"credential"`         // What the browser has made, as its PublicKeyCredential.toJSON() has it.
}

// RightAnswer is a right to register a second factor.
type RightAnswer struct {
	ID      api.Disclosed `json:"registration_id"` // Whoever has it registers a second factor of the entity, once.
	Expires api.Time      `json:"expire_time"`     // When it is no longer good.
}

// RegisterAnswer is what a browser needs to make a passkey.
type RegisterAnswer struct {
	ID        api.Disclosed    `json:"registration_id"`       // To end the registration with.
	Expires   api.Time         `json:"expire_time"`           // When the challenge is too old.
	PublicKey *CreationOptions `json:"public_key"`            // Options for navigator.credentials.create, in their JSON form.
	Origins   []string         `json:"origins" audit:"clear"` // At which the page may be opened.
}

// CreationOptions are what a passkey is to be (Web Authentication, section 5.4), in JSON.
type CreationOptions struct {
	Party       PartyEntity            `json:"rp"`
	User        UserEntity             `json:"user"`
	Challenge   string                 `json:"challenge"`
	Algorithms  []CredentialParameter  `json:"pubKeyCredParams"`
	Timeout     int64                  `json:"timeout"` // milliseconds
	Exclude     []CredentialDescriptor `json:"excludeCredentials"`
	Selection   Selection              `json:"authenticatorSelection"`
	Attestation string                 `json:"attestation" audit:"clear"`
}

// PartyEntity is for whom a passkey is made.
type PartyEntity struct {
	ID   string `json:"id" audit:"clear"`
	Name string `json:"name" audit:"clear"`
}

// UserEntity is whose a passkey is.
type UserEntity struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	DisplayName string `json:"displayName"`
}

// CredentialParameter is an algorithm that a passkey may have.
type CredentialParameter struct {
	Type string `json:"type" audit:"clear"`
	Alg  int    `json:"alg"` // as COSE numbers them
}

// Selection is what an authenticator has to be capable of.
type Selection struct {
	ResidentKey  string `json:"residentKey" audit:"clear"`
	Verification string `json:"userVerification" audit:"clear"`
}

// PasskeyMade tells of a passkey that was registered.
type PasskeyMade struct {
	PasskeyID string `json:"passkey_id" audit:"clear"`
}

// register begins to register a passkey of the calling entity. A browser makes it of the answer, at a page
// of the server, and mfa/method/webauthn/finish takes it.
func (s *Store) register(c *api.Call, q *RegisterRequest) (*RegisterAnswer, error) {
	ns, entity, err := caller(c, "webauthn/admin-register")
	if err != nil {
		return nil, err
	}
	out := &RegisterAnswer{}
	id, err := s.begin(c, ns, entity, q.MethodID, typeWebAuthn, func(tx *store.Tx, m *Method, r *right) error {
		options, err := s.ask(c, tx, ns, m, r)
		out.PublicKey, out.Origins, out.Expires = options, m.WebAuthn.Origins, api.Time{Time: r.Until}
		return err
	})
	if err != nil {
		return nil, err
	}
	out.ID = api.Disclosed(id)
	return out, nil
}

// begin begins a registration of an entity's own for a method of a type, and answers its identifier. What is to be made is asked
// for in ask.
func (s *Store) begin(c *api.Call, ns, entity, method, kind string, ask func(tx *store.Tx, m *Method, r *right) error) (string, error) {
	m, err := s.find(c, ns, method, kind)
	if err != nil {
		return "", err
	}
	r := &right{Entity: entity, Method: m.ID, Own: true, Expires: c.Now.Add(patience).UTC()}
	id, hash, err := s.newRight(c, ns)
	if err != nil {
		return "", err
	}
	_, err = store.Update(c, s.Store, func(tx *store.Tx) error {
		if err := ask(tx, m, r); err != nil {
			return err
		}
		if err := tx.PutJSON(rightKey(ns, hash), r); err != nil {
			return err
		}
		return rights(ns, entity).add(tx, queued{hash, r.Expires}, c.Now)
	})
	return id, err
}

// newRight is an identifier of a right, and its hash.
func (s *Store) newRight(c *api.Call, ns string) (id, hash string, err error) {
	id = api.NewUUID()
	hash, err = s.rightHash(c, ns, id)
	return id, hash, err
}

func (s *Store) rightHash(c *api.Call, ns, id string) (string, error) {
	hash, err := s.Hash(c, ns, kindRight+" "+strings.ToLower(strings.TrimSpace(id)))
	if err != nil {
		return "", fmt.Errorf("mfa: hash: %w", err)
	}
	return hash, nil
}

// adminRegister gives the right to register a passkey of an entity, once. Whoever has the identifier that is
// answered needs no token for it: have the answer wrapped.
func (s *Store) adminRegister(c *api.Call, q *AdminRegisterRequest) (*RightAnswer, error) {
	return s.give(c, q, typeWebAuthn)
}

// give gives a right to register a second factor for a method of a type.
func (s *Store) give(c *api.Call, q *AdminRegisterRequest, kind string) (*RightAnswer, error) {
	ns, ttl := c.Namespace.ID, q.TTL.Std()
	if ttl < time.Second || ttl > maxRight {
		return nil, api.Errorf(api.Invalid, "ttl: must be from a second to %d hours", int(maxRight.Hours()))
	}
	entity, err := q.entity(c, s)
	if err != nil {
		return nil, err
	}
	m, err := s.find(c, ns, q.MethodID, kind)
	if err != nil {
		return nil, err
	}
	r := &right{Entity: entity, Method: m.ID, Expires: c.Now.Add(ttl).UTC()}
	id, hash, err := s.newRight(c, ns)
	if err != nil {
		return nil, err
	}
	full := false
	_, err = store.Update(c, s.Store, func(tx *store.Tx) error {
		_, there, err := s.Identity.Named(tx, ns, entity)
		switch {
		case err != nil:
			return err
		case !there:
			return errEntity()
		}
		if full, err = takesNone(tx, ns, entity, m); err != nil {
			return err
		}
		if err := tx.PutJSON(rightKey(ns, hash), r); err != nil {
			return err
		}
		return rights(ns, entity).add(tx, queued{hash, r.Expires}, c.Now)
	})
	if err != nil {
		return nil, err
	}
	if full {
		c.Warn("the entity has all that it may have for this method, and nothing is registered by the right while it has: remove that with identity/mfa/method/" + kind + "/admin-destroy, which ends this right too, and give another")
	}
	return &RightAnswer{ID: api.Disclosed(id), Expires: api.Time{Time: r.Expires}}, nil
}

// takesNone reports whether an entity has as much for a method as it may have.
func takesNone(tx *store.Tx, ns, entity string, m *Method) (bool, error) {
	if m.Type == typeTOTP {
		old, err := tx.Get(factorKey(ns, entity, m.ID))
		return old.Exists(), err
	}
	var p passkeys
	_, err := tx.LoadJSON(passkeysKey(ns, entity, m.ID), &p)
	return len(p.Keys) >= m.WebAuthn.Most, err
}

// registerByRight begins to register a passkey by a right that an administrator gave. It needs no token. It
// may be begun anew while the right is good; the challenge before it is then good for nothing.
func (s *Store) registerByRight(c *api.Call, q *RightRequest) (*RegisterAnswer, error) {
	ns := c.Namespace.ID
	hash, err := s.rightHash(c, ns, q.ID.Reveal())
	if err != nil {
		return nil, err
	}
	out := &RegisterAnswer{ID: api.Disclosed(q.ID.Reveal())}
	_, err = store.Update(c, s.Store, func(tx *store.Tx) error {
		r, m, err := s.held(c, tx, ns, hash, "", typeWebAuthn)
		if err != nil {
			return err
		}
		if out.PublicKey, err = s.ask(c, tx, ns, m, r); err != nil {
			return err
		}
		out.Expires, out.Origins = api.Time{Time: r.Until}, m.WebAuthn.Origins
		return tx.PutJSON(rightKey(ns, hash), r)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// held is a right that is good for a method of a type, with that method. One that an entity has begun itself is that entity's alone;
// one that an administrator gave is nobody's: entity is then empty.
func (s *Store) held(c *api.Call, tx *store.Tx, ns, hash, entity, kind string) (*right, *Method, error) {
	r := &right{}
	found, err := tx.LoadJSON(rightKey(ns, hash), r)
	switch {
	case err != nil:
		return nil, nil, err
	case !found || !r.Expires.After(c.Now) || r.Own != (entity != "") || r.Own && r.Entity != entity:
		return nil, nil, denied("there is no such right to register")
	}
	m, err := s.find(c, ns, r.Method, kind)
	if api.KindOf(err) == api.Invalid {
		err = denied("the method of the right is gone, or of another type")
	}
	return r, m, err
}

// ask makes the challenge for a registration, and what a browser is to make of it.
func (s *Store) ask(c *api.Call, tx *store.Tx, ns string, m *Method, r *right) (*CreationOptions, error) {
	name, there, err := s.Identity.Named(tx, ns, r.Entity)
	switch {
	case err != nil:
		return nil, err
	case !there:
		return nil, denied("whose passkey it was to be is gone")
	}
	var p passkeys
	if _, err := tx.LoadJSON(passkeysKey(ns, r.Entity, m.ID), &p); err != nil {
		return nil, err
	}
	if err := p.room(m); err != nil {
		return nil, err
	}
	r.Challenge, r.Handle = encode(random()), random()
	if len(p.Keys) > 0 { // an authenticator has one passkey for each handle
		r.Handle = p.Keys[0].Handle
	}
	r.shown(c.Now)
	v := &m.WebAuthn
	o := &CreationOptions{Party: PartyEntity{v.PartyID, v.PartyName}, User: UserEntity{encode(r.Handle), name, name}, Challenge: r.Challenge,
		Timeout: patience.Milliseconds(), Exclude: p.descriptors(), Selection: Selection{"preferred", v.Verification}, Attestation: "none"}
	for _, a := range signatures() {
		o.Algorithms = append(o.Algorithms, CredentialParameter{string(a.Type), int(a.Algorithm)})
	}
	return o, nil
}

// shown notes until when what was asked for or shown is good.
func (r *right) shown(now time.Time) {
	if r.Until = now.Add(patience).UTC(); r.Until.After(r.Expires) {
		r.Until = r.Expires
	}
}

// room refuses one more passkey where there are as many as may be.
func (p *passkeys) room(m *Method) error {
	if len(p.Keys) >= m.WebAuthn.Most {
		return &api.Error{Kind: api.Invalid, Message: "the entity has as many passkeys for this method as max_passkeys allows", Hint: "remove one of them"}
	}
	return nil
}

// finish registers the passkey that a browser has made for the calling entity.
func (s *Store) finish(c *api.Call, q *FinishRequest) (*PasskeyMade, error) {
	ns, entity, err := caller(c, "webauthn/admin-register")
	if err != nil {
		return nil, err
	}
	return s.finishAs(c, ns, entity, q)
}

// finishByRight registers the passkey that a browser has made, by a right that an administrator gave. It needs
// no token, and the right is used up by it.
func (s *Store) finishByRight(c *api.Call, q *FinishRequest) (*PasskeyMade, error) {
	return s.finishAs(c, c.Namespace.ID, "", q)
}

// finishAs registers a passkey, and uses the right to it up in the same commit.
func (s *Store) finishAs(c *api.Call, ns, entity string, q *FinishRequest) (*PasskeyMade, error) {
	if err := checkText("name", q.Name, maxName); err != nil {
		return nil, err
	}
	made, err := parseCreation(q.Credential)
	if err != nil {
		return nil, err
	}
	hash, err := s.rightHash(c, ns, q.ID.Reveal())
	if err != nil {
		return nil, err
	}
	id := api.NewUUID()
	_, err = store.Update(c, s.Store, func(tx *store.Tx) error {
		r, m, err := s.held(c, tx, ns, hash, entity, typeWebAuthn)
		if err != nil {
			return err
		}
		k, err := m.WebAuthn.accept(r, made, c.Now)
		if err != nil {
			return err
		}
		k.ID, k.Name = id, q.Name
		if err := s.keep(tx, ns, r.Entity, m, k); err != nil {
			return err
		}
		return rights(ns, r.Entity).remove(tx, queued{hash, r.Expires}, c.Now)
	})
	if err != nil {
		return nil, err
	}
	return &PasskeyMade{id}, nil
}

// keep adds a passkey to those of an entity that is there.
func (s *Store) keep(tx *store.Tx, ns, entity string, m *Method, k *passkey) error {
	_, there, err := s.Identity.Named(tx, ns, entity)
	switch {
	case err != nil:
		return err
	case !there:
		return denied("whose passkey it was to be is gone")
	}
	var p passkeys
	if _, err := tx.LoadJSON(passkeysKey(ns, entity, m.ID), &p); err != nil {
		return err
	}
	if err := p.room(m); err != nil {
		return err
	}
	if p.of(k.Credential) != nil {
		return api.Errorf(api.Invalid, "credential: the passkey is registered already")
	}
	p.Keys = append(p.Keys, *k)
	return tx.PutJSON(passkeysKey(ns, entity, m.ID), &p)
}

// parseCreation reads what a browser has made. By whom the authenticator was made is not asked: what it states
// of that, in any of many formats, is dropped unread.
func parseCreation(b []byte) (*protocol.ParsedCredentialCreationData, error) {
	if len(b) == 0 || len(b) > maxCredential {
		return nil, api.Errorf(api.Invalid, "credential: missing, or longer than %d bytes", maxCredential)
	}
	p, err := protocol.ParseCredentialCreationResponseBytes(b)
	if err != nil {
		return nil, api.Errorf(api.Invalid, "credential: not what a browser answers to navigator.credentials.create")
	}
	o := &p.Response.AttestationObject
	o.Format, o.AttStatement, o.SubStatements = string(protocol.AttestationFormatNone), nil, nil
	if n := len(o.AuthData.AttData.CredentialID); n == 0 || n > 1023 || len(o.AuthData.AttData.CredentialPublicKey) > maxPublicKey {
		return nil, api.Errorf(api.Invalid, "credential: its identifier or its public key is too long")
	}
	return p, nil
}

// accept judges a new passkey by the challenge for it.
func (v *WebAuthn) accept(r *right, made *protocol.ParsedCredentialCreationData, now time.Time) (*passkey, error) {
	flags := made.Response.AttestationObject.AuthData.Flags
	switch {
	case r.Challenge == "" || !r.Until.After(now):
		return nil, api.Errorf(api.Invalid, "credential: too late, or not asked for: begin anew")
	case !protocol.IsOriginInHaystack(made.Response.CollectedClientData.Origin, v.Origins):
		return nil, &api.Error{Kind: api.Invalid, Message: "credential: made at a page of another origin", Hint: "see the method's origins"}
	case v.Verification == verifyRequired && !flags.HasUserVerified():
		return nil, &api.Error{Kind: api.Invalid, Message: "credential: nobody was verified by a PIN, a finger or a face", Hint: "see the method's user_verification"}
	}
	lib, err := v.library()
	if err != nil {
		return nil, fmt.Errorf("mfa: %w", err)
	}
	got, err := lib.CreateCredential(holder{handle: r.Handle}, webauthn.SessionData{Challenge: r.Challenge, UserID: r.Handle,
		UserVerification: protocol.UserVerificationRequirement(v.Verification), CredParams: signatures()}, made)
	if err != nil {
		return nil, api.Errorf(api.Invalid, "credential: not a passkey that was made for this registration")
	}
	return &passkey{Credential: got.ID, PublicKey: got.PublicKey, Handle: r.Handle, Transports: known(made.Response.Transports), Model: got.Authenticator.AAGUID,
		Count: got.Authenticator.SignCount, Backup: got.Flags.BackupEligible, BackedUp: got.Flags.BackupState, Created: now.UTC()}, nil
}

// known are the ways to an authenticator that have a name.
func known(transports []protocol.AuthenticatorTransport) []string {
	var out []string
	for _, t := range transports {
		if slices.Contains([]string{"usb", "nfc", "ble", "smart-card", "hybrid", "internal"}, string(t)) && !slices.Contains(out, string(t)) {
			out = append(out, string(t))
		}
	}
	return out
}

// modelText is how the model of an authenticator is written.
func modelText(b []byte) string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// rightUnused handles the job that forgets a right whose time has come.
func (s *Store) rightUnused(ctx context.Context, job *schedule.Job) error {
	_, err := store.Update(ctx, s.Store, func(tx *store.Tx) error {
		r := &right{}
		found, err := tx.LoadJSON(rightKey(job.Namespace, job.ID), r)
		if err != nil || !found {
			return err
		}
		return rights(job.Namespace, r.Entity).remove(tx, queued{job.ID, r.Expires}, job.At)
	})
	return err
}
