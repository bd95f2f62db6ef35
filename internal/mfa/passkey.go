package mfa

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"slices"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// passkeys are an entity's for a method.
type passkeys struct {
	Keys     []passkey `json:"keys"`
	Failures int       `json:"failures,omitempty"` // wrong ones since
	Since    time.Time `json:"since,omitzero"`
}

// passkey is the public part of one, as it was registered.
type passkey struct {
	ID         string    `json:"id"`
	Name       string    `json:"name,omitempty"` // given by the person
	Credential []byte    `json:"credential"`     // identifier of the authenticator's
	PublicKey  []byte    `json:"public_key"`     // COSE (RFC 9052)
	Handle     []byte    `json:"handle"`         // by which the authenticator knows the person: random
	Transports []string  `json:"transports,omitempty"`
	Model      []byte    `json:"model,omitempty"` // AAGUID, as it says of itself
	Count      uint32    `json:"count,omitempty"` // of signatures, where the authenticator counts
	Backup     bool      `json:"backup"`          // may be on several devices
	BackedUp   bool      `json:"backed_up"`       // is
	Created    time.Time `json:"created"`
	Used       time.Time `json:"used,omitzero"`
	Suspect    time.Time `json:"suspect,omitzero"` // last time that the count had not grown: there may be a copy
}

// credential is the passkey as the library has it.
func (k *passkey) credential() webauthn.Credential {
	c := webauthn.Credential{ID: k.Credential, PublicKey: k.PublicKey, AttestationFormat: string(protocol.AttestationFormatNone)}
	c.Flags.BackupEligible, c.Flags.BackupState = k.Backup, k.BackedUp
	c.Authenticator.SignCount, c.Authenticator.AAGUID = k.Count, k.Model
	return c
}

func (k *passkey) descriptor() CredentialDescriptor {
	return CredentialDescriptor{Type: "public-key", ID: encode(k.Credential), Transports: k.Transports}
}

// of is the passkey with a credential; nil: there is none.
func (p *passkeys) of(credential []byte) *passkey {
	for i := range p.Keys {
		if bytes.Equal(p.Keys[i].Credential, credential) {
			return &p.Keys[i]
		}
	}
	return nil
}

func (p *passkeys) descriptors() []CredentialDescriptor {
	out := make([]CredentialDescriptor, 0, len(p.Keys))
	for i := range p.Keys {
		out = append(out, p.Keys[i].descriptor())
	}
	return out
}

// holder is who has a passkey, as the library asks for it.
type holder struct {
	handle []byte
	keys   []webauthn.Credential
}

func (h holder) WebAuthnID() []byte                         { return h.handle }
func (holder) WebAuthnName() string                         { return "" }
func (holder) WebAuthnDisplayName() string                  { return "" }
func (h holder) WebAuthnCredentials() []webauthn.Credential { return h.keys }

// CredentialDescriptor names a passkey to a browser (Web Authentication, section 5.8.3).
type CredentialDescriptor struct {
	Type       string   `json:"type" audit:"clear"`
	ID         string   `json:"id"`
	Transports []string `json:"transports,omitempty" audit:"clear"`
}

// algorithms of signatures that a passkey may have, the best first: of Windows some have the last alone.
func signatures() []protocol.CredentialParameter {
	var out []protocol.CredentialParameter
	for _, alg := range []webauthncose.COSEAlgorithmIdentifier{webauthncose.AlgES256, webauthncose.AlgEdDSA, webauthncose.AlgRS256} {
		out = append(out, protocol.CredentialParameter{Type: protocol.PublicKeyCredentialType, Algorithm: alg})
	}
	return out
}

// encode is the form that bytes have in what browsers take and give.
func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// random is as many bytes as no one guesses.
func random() []byte {
	b := make([]byte, 32)
	rand.Read(b) //nolint:errcheck // it never fails
	return b
}

// PasskeyInfo is what is told of a passkey.
type PasskeyInfo struct {
	Name     string   `json:"name" audit:"clear"`   // As it was called when it was registered.
	Created  api.Time `json:"creation_time"`        // When it was registered.
	Used     api.Time `json:"last_used_time"`       // When a login was last proved with it.
	BackedUp bool     `json:"backed_up"`            // Whether it is kept on more than one device.
	Suspect  api.Time `json:"suspected_copy_time"`  // When it last counted no higher than before, as a copy would: that login was refused.
	Model    string   `json:"aaguid" audit:"clear"` // The model of the authenticator, as it says of itself; empty: it says nothing.
}

func (k *passkey) info() PasskeyInfo {
	i := PasskeyInfo{Name: k.Name, Created: api.Time{Time: k.Created}, Used: api.Time{Time: k.Used}, BackedUp: k.BackedUp, Suspect: api.Time{Time: k.Suspect}}
	if len(k.Model) == 16 && !bytes.Equal(k.Model, make([]byte, 16)) {
		i.Model = modelText(k.Model)
	}
	return i
}

// MethodPasskeysRequest names a method of whose passkeys the caller's own are meant.
type MethodPasskeysRequest struct {
	MethodID api.Name `path:"method_id"` // Identifier of the method.
}

// PasskeyRequest names a passkey of the caller.
type PasskeyRequest struct {
	MethodID  api.Name `path:"method_id"`  // Identifier of the method.
	PasskeyID api.Name `path:"passkey_id"` // Identifier of the passkey, as it is listed.
}

// EntityPasskeysRequest names a method and an entity.
type EntityPasskeysRequest struct {
	MethodID api.Name `path:"method_id"` // Identifier of the method.
	EntityID api.Name `path:"entity_id"` // Identifier of the entity.
}

// DestroyPasskeysRequest names an entity, a method and, when it is one alone, a passkey.
type DestroyPasskeysRequest struct {
	MethodID  string `json:"method_id" audit:"clear"`  // Identifier of the method.
	EntityID  string `json:"entity_id" audit:"clear"`  // Identifier of the entity.
	PasskeyID string `json:"passkey_id" audit:"clear"` // Identifier of the passkey, as it is listed; all of the entity's when not given.
}

// caller is the entity that a call is of, in the namespace that the call is made in: what other namespaces' policies let
// somebody do there, who comes from above, is nothing about their own second factors.
func caller(c *api.Call, admin string) (ns, entity string, err error) {
	switch {
	case c.Caller.EntityID == "":
		return "", "", &api.Error{Kind: api.Invalid, Message: "the calling token is of no entity", Hint: "log in by an auth method, or use identity/mfa/method/" + admin}
	case c.Caller.EntityNamespace != c.Namespace.ID:
		return "", "", &api.Error{Kind: api.Invalid, Message: "the calling token's entity is of another namespace", Hint: "ask in the namespace of the entity"}
	}
	return c.Namespace.ID, c.Caller.EntityID, nil
}

// listPasskeys lists the identifiers of the calling entity's passkeys, with what they are called and when they
// were used.
func (s *Store) listPasskeys(c *api.Call, q *MethodPasskeysRequest) (*api.Keys, error) {
	ns, entity, err := caller(c, "webauthn/admin-register")
	if err != nil {
		return nil, err
	}
	return s.passkeysOf(c, ns, entity, string(q.MethodID))
}

// adminListPasskeys lists the identifiers of an entity's passkeys, with what they are called and when they were
// used.
func (s *Store) adminListPasskeys(c *api.Call, q *EntityPasskeysRequest) (*api.Keys, error) {
	return s.passkeysOf(c, c.Namespace.ID, string(q.EntityID), string(q.MethodID))
}

func (s *Store) passkeysOf(c *api.Call, ns, entity, id string) (*api.Keys, error) {
	m, err := s.find(c, ns, id, typeWebAuthn)
	if err != nil {
		return nil, err
	}
	if !isID(entity) {
		return nil, errEntity()
	}
	p, err := store.LoadJSON[passkeys](c, s.Store, passkeysKey(ns, entity, m.ID))
	if err != nil || p == nil {
		return &api.Keys{}, err
	}
	out := &api.Keys{Info: map[string]any{}}
	for i := range p.Keys {
		k := &p.Keys[i]
		out.Keys, out.Info[k.ID] = append(out.Keys, k.ID), k.info()
	}
	return out, nil
}

// removePasskey removes a passkey of the calling entity: it proves no login from then on.
func (s *Store) removePasskey(c *api.Call, q *PasskeyRequest) (*api.None, error) {
	ns, entity, err := caller(c, "webauthn/admin-register")
	if err != nil {
		return nil, err
	}
	return s.dropPasskey(c, ns, entity, string(q.MethodID), string(q.PasskeyID))
}

// adminDestroyPasskeys removes a passkey of an entity, or all of them, and the rights to register others. Until
// another is registered who needs one cannot log in.
func (s *Store) adminDestroyPasskeys(c *api.Call, q *DestroyPasskeysRequest) (*api.None, error) {
	if !isID(q.EntityID) {
		return nil, errEntity()
	}
	return s.dropPasskey(c, c.Namespace.ID, q.EntityID, q.MethodID, q.PasskeyID)
}

// dropPasskey removes one passkey, or without an identifier all of them with the rights to register more.
func (s *Store) dropPasskey(c *api.Call, ns, entity, method, id string) (*api.None, error) {
	m, err := s.find(c, ns, method, typeWebAuthn)
	if err != nil {
		return nil, err
	}
	key := passkeysKey(ns, entity, m.ID)
	_, err = store.Update(c, s.Store, func(tx *store.Tx) error {
		if id == "" {
			tx.Delete(key)
			return rights(ns, entity).clear(tx, c.Now)
		}
		var p passkeys
		if found, err := tx.LoadJSON(key, &p); err != nil || !found {
			return err
		}
		p.Keys = slices.DeleteFunc(p.Keys, func(k passkey) bool { return k.ID == id })
		if len(p.Keys) == 0 {
			tx.Delete(key)
			return nil
		}
		return tx.PutJSON(key, &p)
	})
	return nil, err
}
