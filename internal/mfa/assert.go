package mfa

import (
	"encoding/base64"
	"errors"
	"maps"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// ChallengeRequest asks for what a passkey is to answer.
type ChallengeRequest struct {
	RequestID api.Secret `json:"mfa_request_id"`          // What the login was answered in mfa_requirement.
	MethodID  string     `json:"method_id" audit:"clear"` // Identifier of the method.
}

// ChallengeAnswer is what a browser needs to show a passkey.
type ChallengeAnswer struct {
	PublicKey *RequestOptions `json:"public_key"`            // Options for navigator.credentials.get, in their JSON form.
	Origins   []string        `json:"origins" audit:"clear"` // At which the page may be opened.
}

// RequestOptions are which passkeys are asked for (Web Authentication, section 5.5), in JSON.
type RequestOptions struct {
	Challenge    string                 `json:"challenge"`
	Timeout      int64                  `json:"timeout"` // milliseconds
	PartyID      string                 `json:"rpId" audit:"clear"`
	Allow        []CredentialDescriptor `json:"allowCredentials"`
	Verification string                 `json:"userVerification" audit:"clear"`
}

// challenge answers what a passkey has to sign for a login that waits for one, once. It needs no token. A login
// that does not wait, and a person without a passkey, have one answer.
func (s *Store) challenge(c *api.Call, q *ChallengeRequest) (*ChallengeAnswer, error) {
	if q.RequestID.Empty() {
		return nil, api.Errorf(api.Invalid, "mfa_request_id: missing")
	}
	hash, err := s.hashOf(c, q.RequestID)
	if err != nil {
		return nil, err
	}
	_, need, err := s.again(c, hash)
	if err != nil {
		return nil, err
	}
	m := need.passkeyMethod(q.MethodID)
	if m == nil {
		return nil, denied("the login does not wait for a passkey of this method")
	}
	text := encode(random())
	var p passkeys
	_, err = store.Update(c, s.Store, func(tx *store.Tx) error {
		p = passkeys{}
		if _, err := tx.LoadJSON(passkeysKey(c.Namespace.ID, need.entity, m.ID), &p); err != nil {
			return err
		}
		if len(p.Keys) == 0 {
			return denied("who logs in has no passkey")
		}
		w := &waiting{}
		found, err := tx.LoadJSON(waitingKey(c.Namespace.ID, hash), w)
		switch {
		case err != nil:
			return err
		case !found:
			return denied("no such login waits")
		}
		if w.Challenges == nil {
			w.Challenges = map[string]string{}
		}
		w.Challenges[m.ID] = text
		return tx.PutJSON(waitingKey(c.Namespace.ID, hash), w)
	})
	if err != nil {
		return nil, err
	}
	return &ChallengeAnswer{Origins: m.WebAuthn.Origins, PublicKey: &RequestOptions{Challenge: text, Timeout: patience.Milliseconds(),
		PartyID: m.WebAuthn.PartyID, Allow: p.descriptors(), Verification: m.WebAuthn.Verification}}, nil
}

// passkeyMethod is a method that is needed, and of passkeys; nil: it is not.
func (n *Need) passkeyMethod(id string) *Method {
	if n == nil {
		return nil
	}
	for _, r := range n.rules {
		for _, m := range r.methods {
			if m.ID == id && m.Type == typeWebAuthn {
				return m
			}
		}
	}
	return nil
}

// provePasskey judges what a passkey of an entity has answered to the challenge for a login that waits. The challenge is
// taken by it, right or wrong. Beyond the allowed number of wrong ones, all are refused unseen.
func (s *Store) provePasskey(c *api.Call, entity string, m *Method, shown api.Secret, hash string) (right bool, err error) {
	said, err := parseAssertion(shown.Reveal())
	if err != nil || hash == "" {
		return false, nil //nolint:nilerr // what is none is no guess, and not counted
	}
	ns := c.Namespace.ID
	_, err = store.Update(c, s.Store, func(tx *store.Tx) error {
		right = false
		challenge, err := takeChallenge(tx, waitingKey(ns, hash), entity, m.ID)
		if err != nil || challenge == "" {
			return err
		}
		var p passkeys
		found, err := tx.LoadJSON(passkeysKey(ns, entity, m.ID), &p)
		if err != nil || !found {
			return err
		}
		if c.Now.Sub(p.Since) >= attemptPeriod {
			p.Failures = 0
		}
		if p.Failures >= m.WebAuthn.Attempts {
			return nil
		}
		if right = m.WebAuthn.verify(&p, challenge, said, c.Now); !right {
			if p.Failures == 0 {
				p.Since = c.Now.UTC()
			}
			p.Failures++
		}
		return tx.PutJSON(passkeysKey(ns, entity, m.ID), &p)
	})
	return right && err == nil, err
}

// takeChallenge takes the challenge for an entity's login out of its row; empty: there is none.
func takeChallenge(tx *store.Tx, key, entity, method string) (string, error) {
	w := &waiting{}
	found, err := tx.LoadJSON(key, w)
	if err != nil || !found || w.Enters == nil || w.Enters.EntityID != entity || w.Challenges[method] == "" {
		return "", err
	}
	challenge := w.Challenges[method]
	w.Challenges = maps.Clone(w.Challenges)
	delete(w.Challenges, method)
	return challenge, tx.PutJSON(key, w)
}

// errAssertion is of what no browser has answered.
var errAssertion = errors.New("mfa: not what a browser answers to navigator.credentials.get")

// parseAssertion reads what a passkey has answered, as a browser writes it: JSON, or that in base64url.
func parseAssertion(text string) (*protocol.ParsedCredentialAssertionData, error) {
	if len(text) > maxCredential {
		return nil, errAssertion
	}
	b := []byte(text)
	if !strings.HasPrefix(text, "{") {
		var err error
		if b, err = base64.RawURLEncoding.DecodeString(strings.TrimRight(text, "=")); err != nil {
			return nil, errAssertion
		}
	}
	p, err := protocol.ParseCredentialRequestResponseBytes(b)
	if err != nil {
		return nil, errAssertion
	}
	return p, nil
}

// verify judges an answer to a challenge, and notes it with the passkey. A count of signatures that has not grown
// refuses it: there may be a copy of the passkey.
func (v *WebAuthn) verify(p *passkeys, challenge string, said *protocol.ParsedCredentialAssertionData, now time.Time) bool {
	k := p.of(said.RawID)
	if k == nil {
		return false
	}
	lib, err := v.library()
	if err != nil {
		return false
	}
	got, err := lib.ValidateLogin(holder{k.Handle, []webauthn.Credential{k.credential()}}, webauthn.SessionData{Challenge: challenge, UserID: k.Handle,
		UserVerification: protocol.UserVerificationRequirement(v.Verification)}, said)
	switch {
	case err != nil:
		return false
	case got.Authenticator.CloneWarning:
		k.Suspect = now.UTC()
		return false
	}
	k.Count, k.BackedUp, k.Used = got.Authenticator.SignCount, got.Flags.BackupState, now.UTC()
	return true
}
