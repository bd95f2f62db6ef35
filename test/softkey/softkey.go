// Package softkey owns a passkey in software for tests: what a browser and an authenticator together answer
// to a server, and the ways in which they may answer wrongly. It uses none of the code that judges it.
package softkey

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"
)

// Flags of what an authenticator signs (W3C Web Authentication, section 6.1).
const (
	Present        = 0x01
	Verified       = 0x04
	BackupEligible = 0x08
	BackedUp       = 0x10
	attested       = 0x40
)

// Authenticator has one passkey (ES256). Its fields say how it answers, and may be changed between answers.
type Authenticator struct {
	Origin      string // Origin is that of the page.
	Party       string // Party is the relying party that is signed for; empty: the one that is asked for.
	Challenge   string // Challenge is what is signed; empty: the one that is asked for.
	CrossOrigin bool   // CrossOrigin has the page be in a frame of another origin.
	Flags       byte   // Flags are signed.
	Step        uint32 // Step is by how much the count grows with each answer.
	Count       uint32 // Count is how many signatures were made, as it says.
	Statement   []byte // Statement is "fmt" and "attStmt" of what is made, in CBOR; nil: of none.
	ID          []byte // ID identifies the passkey.
	Handle      []byte // Handle is how the passkey knows the person.

	key *ecdsa.PrivateKey
}

// New is an authenticator whose owner is verified, at a page of an origin.
func New(origin string) (*Authenticator, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	id := make([]byte, 32)
	rand.Read(id) //nolint:errcheck // it never fails
	return &Authenticator{Origin: origin, Flags: Present | Verified, Step: 1, ID: id, key: key}, nil
}

// options are what of a server's options matters here.
type options struct {
	Challenge string `json:"challenge"`
	PartyID   string `json:"rpId"`
	Party     struct {
		ID string `json:"id"`
	} `json:"rp"`
	User struct {
		ID string `json:"id"`
	} `json:"user"`
	Exclude []descriptor `json:"excludeCredentials"`
	Allow   []descriptor `json:"allowCredentials"`
}

type descriptor struct {
	ID string `json:"id"`
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (a *Authenticator) among(list []descriptor) bool {
	return slices.ContainsFunc(list, func(d descriptor) bool { return d.ID == encode(a.ID) })
}

// Create makes the passkey of the options for navigator.credentials.create.
func (a *Authenticator) Create(asked []byte) (string, error) {
	var o options
	if err := json.Unmarshal(asked, &o); err != nil {
		return "", err
	}
	if a.among(o.Exclude) {
		return "", errors.New("the passkey is there already")
	}
	var err error
	if a.Handle, err = base64.RawURLEncoding.DecodeString(o.User.ID); err != nil || len(a.Handle) == 0 || len(a.Handle) > 64 {
		return "", errors.New("the user has no handle of 1 to 64 bytes")
	}
	data := a.data(o.Party.ID, attested)
	data = append(data, make([]byte, 16)...) // of no known model
	data = binary.BigEndian.AppendUint16(data, uint16(len(a.ID)))
	data = append(append(data, a.ID...), a.cose()...)
	object := []byte{0xa3} // a map of three
	if a.Statement != nil {
		object = append(object, a.Statement...)
	} else {
		object = append(text(text(text(object, "fmt"), "none"), "attStmt"), 0xa0)
	}
	object = bytes(text(object, "authData"), data)
	return a.credential(map[string]any{"clientDataJSON": encode(a.client("webauthn.create", o.Challenge)), "attestationObject": encode(object), "transports": []string{"internal", "teleport"}})
}

// Get shows the passkey, as the options for navigator.credentials.get have it.
func (a *Authenticator) Get(asked []byte) (string, error) {
	var o options
	if err := json.Unmarshal(asked, &o); err != nil {
		return "", err
	}
	if !a.among(o.Allow) {
		return "", errors.New("the passkey is not asked for")
	}
	return a.Assert(asked)
}

// Assert is Get of a passkey that may not be asked for.
func (a *Authenticator) Assert(asked []byte) (string, error) {
	var o options
	if err := json.Unmarshal(asked, &o); err != nil {
		return "", err
	}
	data, client := a.data(o.PartyID, 0), a.client("webauthn.get", o.Challenge)
	hash := sha256.Sum256(client)
	sum := sha256.Sum256(slices.Concat(data, hash[:]))
	signature, err := ecdsa.SignASN1(rand.Reader, a.key, sum[:])
	if err != nil {
		return "", err
	}
	return a.credential(map[string]any{"clientDataJSON": encode(client), "authenticatorData": encode(data), "signature": encode(signature), "userHandle": encode(a.Handle)})
}

// credential is how a browser writes what an authenticator has answered.
func (a *Authenticator) credential(response map[string]any) (string, error) {
	b, err := json.Marshal(map[string]any{"id": encode(a.ID), "rawId": encode(a.ID), "type": "public-key", "response": response, "clientExtensionResults": map[string]any{}})
	return string(b), err
}

// client is what a browser says of the page and the challenge.
func (a *Authenticator) client(kind, challenge string) []byte {
	if a.Challenge != "" {
		challenge = a.Challenge
	}
	b, err := json.Marshal(map[string]any{"type": kind, "challenge": challenge, "origin": a.Origin, "crossOrigin": a.CrossOrigin})
	if err != nil {
		panic(err) // of texts
	}
	return b
}

// data is what an authenticator says of itself.
func (a *Authenticator) data(party string, flags byte) []byte {
	if a.Party != "" {
		party = a.Party
	}
	a.Count += a.Step
	hash := sha256.Sum256([]byte(party))
	return binary.BigEndian.AppendUint32(append(hash[:], a.Flags|flags), a.Count)
}

// cose is the public key (RFC 9053, section 7.1.1).
func (a *Authenticator) cose() []byte {
	point, err := a.key.PublicKey.Bytes()
	if err != nil {
		panic(err) // it is on the curve
	}
	b := []byte{0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01} // EC2, ES256, P-256
	return bytes(append(bytes(append(b, 0x21), point[1:33]), 0x22), point[33:])
}

// text appends a text of up to 23 bytes in CBOR.
func text(b []byte, s string) []byte { return append(append(b, 0x60|byte(len(s))), s...) }

// bytes appends a string of bytes in CBOR.
func bytes(b, s []byte) []byte {
	if len(s) < 256 {
		return append(append(b, 0x58, byte(len(s))), s...)
	}
	return append(binary.BigEndian.AppendUint16(append(b, 0x59), uint16(len(s))), s...)
}
