package mfa

import (
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"

	"github.com/strongroom/strongroom/internal/api"
)

// ParsePayload is parsePayload.
var ParsePayload = parsePayload

// ParseCreation is parseCreation.
var ParseCreation = parseCreation

// ParseAssertion is parseAssertion.
var ParseAssertion = parseAssertion

// ProvePasskey is provePasskey for a login that waits, by its identifier.
func (s *Store) ProvePasskey(c *api.Call, n *Need, method, answer, id string) (bool, error) {
	hash, err := s.hashOf(c, api.NewSecret(strings.TrimSpace(id)))
	if err != nil {
		return false, err
	}
	return s.provePasskey(c, n.entity, n.passkeyMethod(method), api.NewSecret(answer), hash)
}

// Accept judges what a browser has made.
func Accept(p *protocol.ParsedCredentialCreationData) {
	v, now := fuzzed(), time.Unix(1, 0)
	v.accept(&right{Challenge: encode(make([]byte, 32)), Until: now.Add(time.Second), Handle: []byte("h")}, p, now) //nolint:errcheck // that it ends
}

// Verify judges what a passkey has answered, by whatever identifier it has.
func Verify(p *protocol.ParsedCredentialAssertionData) bool {
	k := passkey{Credential: p.RawID, PublicKey: p.Response.Signature, Handle: p.Response.UserHandle}
	return fuzzed().verify(&passkeys{Keys: []passkey{k}}, encode(make([]byte, 32)), p, time.Unix(1, 0))
}

func fuzzed() *WebAuthn {
	v := usualWebAuthn()
	v.PartyID, v.PartyName, v.Origins = "vault.example.com", "x", []string{"https://vault.example.com:8200"}
	return &v
}
