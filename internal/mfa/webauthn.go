package mfa

import (
	"errors"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"github.com/strongroom/strongroom/internal/api"
)

// attemptPeriod is in which wrong passkeys are counted.
const attemptPeriod = 30 * time.Second

// How a person is verified by what has the passkey: by a PIN, a finger or a face.
const (
	verifyRequired    = "required"
	verifyPreferred   = "preferred"
	verifyDiscouraged = "discouraged"
)

// WebAuthn is for whom passkeys are made, and what is asked of them (W3C Web Authentication, level 3).
type WebAuthn struct {
	PartyID      string   `json:"party_id"`   // a domain
	PartyName    string   `json:"party_name"` // what is shown to people
	Origins      []string `json:"origins"`    // of the pages that passkeys may be shown at
	Verification string   `json:"verification"`
	Most         int      `json:"most"`     // passkeys of one entity
	Attempts     int      `json:"attempts"` // wrong ones in attemptPeriod
}

func usualWebAuthn() WebAuthn {
	return WebAuthn{Verification: verifyRequired, Most: 8, Attempts: 5}
}

// WebAuthnFields are for whom passkeys are made, and what is asked of them; what is absent stays as it was.
type WebAuthnFields struct {
	MethodName   *string   `json:"method_name" audit:"clear"`                // Name by which clients may name the method; unique in the namespace.
	PartyID      *string   `json:"relying_party_id" audit:"clear"`           // Domain that passkeys are bound to: the host of the server's address, or a domain above it; needed. It cannot be changed.
	PartyName    *string   `json:"relying_party_display_name" audit:"clear"` // Name that people are shown; the domain.
	Origins      *[]string `json:"origins" audit:"clear"`                    // Origins of the pages at which passkeys are shown, such as https://vault.example.com:8200; needed. The command line opens the page at the one that is the server's address, or the first.
	Verification *string   `json:"user_verification" audit:"clear"`          // Whether a PIN, a finger or a face is asked for, too: required, preferred or discouraged; required.
	Most         *int      `json:"max_passkeys"`                             // Passkeys that an entity may have, 1 to 16; 8.
	Attempts     *int      `json:"max_validation_attempts"`                  // Wrong passkeys that an entity may show in 30 seconds, on all nodes together; 5.
}

// apply changes a method as asked, and refuses what no method can be.
func (f *WebAuthnFields) apply(m *Method) error {
	v := &m.WebAuthn
	if f.PartyID != nil && v.PartyID != "" && *f.PartyID != v.PartyID {
		return &api.Error{Kind: api.Invalid, Message: "relying_party_id: cannot be changed: the passkeys that are there are bound to it", Hint: "make another method"}
	}
	api.Set(&m.Name, f.MethodName)
	api.Set(&v.PartyID, f.PartyID)
	api.Set(&v.PartyName, f.PartyName)
	api.Set(&v.Verification, f.Verification)
	api.Set(&v.Most, f.Most)
	api.Set(&v.Attempts, f.Attempts)
	if v.PartyName == "" {
		v.PartyName = v.PartyID
	}
	if f.Origins != nil {
		v.Origins = make([]string, 0, len(*f.Origins))
		for _, o := range *f.Origins {
			v.Origins = append(v.Origins, strings.ToLower(strings.TrimSuffix(strings.TrimSpace(o), "/")))
		}
		slices.Sort(v.Origins)
		v.Origins = slices.Compact(v.Origins)
	}
	return errors.Join(checkText("method_name", m.Name, maxName), v.check())
}

func (v *WebAuthn) check() error {
	switch {
	case v.PartyID == "":
		return api.Errorf(api.Invalid, "relying_party_id: missing")
	case !isDomain(v.PartyID):
		return api.Errorf(api.Invalid, "relying_party_id: want a domain in lower case, without scheme and port; passkeys cannot be bound to an address")
	case len(v.Origins) == 0:
		return api.Errorf(api.Invalid, "origins: missing")
	case len(v.Origins) > maxOrigins:
		return api.Errorf(api.Invalid, "origins: more than %d", maxOrigins)
	case !slices.Contains([]string{verifyRequired, verifyPreferred, verifyDiscouraged}, v.Verification):
		return api.Errorf(api.Invalid, "user_verification: must be required, preferred or discouraged")
	case v.Most < 1 || v.Most > maxPasskeys:
		return api.Errorf(api.Invalid, "max_passkeys: must be from 1 to %d", maxPasskeys)
	case v.Attempts < 1 || v.Attempts > 1000:
		return api.Errorf(api.Invalid, "max_validation_attempts: must be from 1 to 1000")
	}
	for _, o := range v.Origins {
		if err := v.checkOrigin(o); err != nil {
			return err
		}
	}
	return checkText("relying_party_display_name", v.PartyName, maxIssuer)
}

// checkOrigin refuses what is no origin, or none at which a browser shows the passkeys of the domain.
func (v *WebAuthn) checkOrigin(origin string) error {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" || origin != u.Scheme+"://"+u.Host || len(origin) > maxName {
		return api.Errorf(api.Invalid, "origins: want scheme, host and port, such as https://vault.example.com:8200")
	}
	host := u.Hostname()
	switch {
	case u.Scheme != "https" && (u.Scheme != "http" || host != "localhost"):
		return api.Errorf(api.Invalid, "origins: want https; http is for localhost alone")
	case host != v.PartyID && !strings.HasSuffix(host, "."+v.PartyID):
		return api.Errorf(api.Invalid, "origins: the host must be relying_party_id, or end in it")
	}
	return nil
}

// isDomain reports whether a text is the name of a host in its one spelling, and no address.
func isDomain(name string) bool {
	if len(name) > 253 || net.ParseIP(name) != nil || protocol.ValidateRPID(name) != nil {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	return true
}

// library is what judges passkeys for the method. Which of the browser's extensions had what to say is of no
// matter: none is asked for.
func (v *WebAuthn) library() (*webauthn.WebAuthn, error) {
	return webauthn.New(&webauthn.Config{RPID: v.PartyID, RPDisplayName: v.PartyName, RPOrigins: v.Origins,
		ExtensionsUnsolicitedOutputPolicy: protocol.UnsolicitedOutputPolicyIgnore})
}

// WebAuthnRequest makes a method.
type WebAuthnRequest struct {
	WebAuthnFields
}

// WebAuthnByIDRequest changes a method.
type WebAuthnByIDRequest struct {
	MethodID api.Name `path:"method_id"` // Identifier of the method.
	WebAuthnFields
}

// writeWebAuthn makes a method by which logins are proved with passkeys.
func (s *Store) writeWebAuthn(c *api.Call, q *WebAuthnRequest) (*MethodMade, error) {
	return s.writeMethod(c, &Method{ID: api.NewUUID(), Type: typeWebAuthn, WebAuthn: usualWebAuthn()}, q.apply)
}

// writeWebAuthnByID changes a method. It holds for the passkeys that are there at once.
func (s *Store) writeWebAuthnByID(c *api.Call, q *WebAuthnByIDRequest) (*MethodMade, error) {
	return s.changeMethod(c, string(q.MethodID), typeWebAuthn, q.apply)
}

// readWebAuthn describes a method of type webauthn.
func (s *Store) readWebAuthn(c *api.Call, q *MethodRequest) (*MethodAnswer, error) {
	m, err := methodOf(reading(c, s.Store), c.Namespace.ID, string(q.MethodID), typeWebAuthn)
	return s.told(c, m, err, string(q.MethodID), typeWebAuthn)
}

// listWebAuthn lists the identifiers of the methods of type webauthn, with what they are.
func (s *Store) listWebAuthn(c *api.Call, _ *api.None) (*api.Keys, error) {
	return s.list(c, func(m *Method) bool { return m.Type == typeWebAuthn })
}

// removeWebAuthn deletes a method and the passkeys for it. One that an enforcement needs stays.
func (s *Store) removeWebAuthn(c *api.Call, q *MethodRequest) (*api.None, error) {
	return s.removeMethod(c, string(q.MethodID), typeWebAuthn)
}
