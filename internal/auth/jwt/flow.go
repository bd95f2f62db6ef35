package jwt

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"net/netip"
	"reflect"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// Logins that are under way lie in a fixed number of places, so that nobody who only begins
// them fills the store. Each network of clients has a share of the places, which a few others have
// too: who fills theirs keeps a few from logging in, not all. A place whose login has ended or expired is taken again.
const (
	places    = 1 << 14
	shares    = 1 << 4
	placeTry  = 8 // places that are looked at before there is none
	flowTime  = 10 * time.Minute
	maxDevice = 30 * time.Minute // of a login by device, whatever the provider says
)

const flowPrefix = "flow/"

// flow is a login through the provider that is under way.
type flow struct {
	State    []byte    `json:"state"`  // hash of what names it
	Config   string    `json:"config"` // config.ID that it began by
	Role     string    `json:"role"`
	Mode     string    `json:"mode"`             // client, direct or device
	Client   []byte    `json:"client,omitempty"` // hash of the client's nonce; nil: it gave none
	Ends     time.Time `json:"ends"`
	Remote   string    `json:"remote,omitempty"`
	Redirect string    `json:"redirect,omitempty"`
	Nonce    string    `json:"nonce,omitempty"`
	Verifier string    `json:"verifier,omitempty"` // PKCE (RFC 7636)

	// Of a provider that answers by a form: what it answered.
	Code    string `json:"code,omitempty"`
	IDToken string `json:"id_token,omitempty"`

	// Of a direct login.
	UserCode string  `json:"user_code,omitempty"` // what whoever began it sees, and types into the page
	Wrong    int     `json:"wrong,omitempty"`     // how often another was typed
	Used     bool    `json:"used,omitempty"`      // the provider's answer has been taken
	Person   *person `json:"person,omitempty"`    // who it is, once that is known
	Failed   string  `json:"failed,omitempty"`    // why it has failed

	// Of a login by device (RFC 8628).
	Device   string        `json:"device,omitempty"`
	Interval time.Duration `json:"interval,omitempty"`
	Next     time.Time     `json:"next,omitzero"` // before it the provider is not asked again
}

func hashed(text string) []byte {
	sum := sha256.Sum256([]byte(text))
	return sum[:]
}

func equal(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }

// random is a text that cannot be guessed: 24 random bytes, behind a head.
func random(head ...byte) string {
	b := make([]byte, len(head)+24)
	copy(b, head)
	rand.Read(b[len(head):]) // never fails: crypto/rand ends the process instead
	return base64.RawURLEncoding.EncodeToString(b)
}

// userCode is a text that people can type: letters that make no words (RFC 8628 6.1).
func userCode() string {
	const letters = "BCDFGHJKLMNPQRSTVWXZ"
	var out []byte
	for len(out) < 8 {
		var b [1]byte
		rand.Read(b[:])
		if int(b[0]) < 256/len(letters)*len(letters) { // each letter as often
			out = append(out, letters[int(b[0])%len(letters)])
		}
	}
	return string(out[:4]) + "-" + string(out[4:])
}

// share is where the places of a client's network begin.
func share(remote netip.Addr) int {
	bits := 64
	if remote = remote.Unmap(); remote.Is4() {
		bits = 24
	}
	network, err := remote.WithZone("").Prefix(bits)
	if err != nil {
		return 0
	}
	return int(hashed(network.String())[0]) % shares * (places / shares)
}

func placeKey(place int) string { return fmt.Sprintf("%s%04x", flowPrefix, place) }

// begin keeps a login in a free place and answers the state that names it. TooMany
// when there is none.
func (f *flow) begin(c *api.Call) (string, error) {
	first := share(c.Remote)
	for range placeTry {
		var b [2]byte
		rand.Read(b[:])
		place := first + int(binary.BigEndian.Uint16(b[:]))%(places/shares)
		state := random(byte(place>>8), byte(place))
		f.State = hashed(state)
		free := false
		_, err := store.Update(c, c.Store, func(tx *store.Tx) error {
			var old flow
			found, err := tx.LoadJSON(placeKey(place), &old)
			if free = err == nil && (!found || !c.Now.Before(old.Ends)); !free {
				return err
			}
			return tx.PutJSON(placeKey(place), f)
		})
		if err != nil || free {
			return state, err
		}
	}
	return "", &api.Error{Kind: api.TooMany, Message: "too many logins are under way", Hint: "try again in some minutes"}
}

// errFlow is for a login that is not under way.
func errFlow() *api.Error {
	return api.Errorf(api.Invalid, "login failed: expired or missing OAuth state")
}

// with hands the login that a state names to fn, as part of a transaction, and keeps what fn makes
// of it, unless fn says that it has ended.
func with(c *api.Call, state string, fn func(f *flow) (ended bool, err error)) error {
	b, err := base64.RawURLEncoding.Strict().DecodeString(state)
	if err != nil || len(b) != 2+24 {
		return errFlow()
	}
	key := placeKey(int(binary.BigEndian.Uint16(b)))
	var failure error
	_, err = store.Update(c, c.Store, func(tx *store.Tx) error {
		failure = nil
		var f flow
		found, err := tx.LoadJSON(key, &f)
		switch {
		case err != nil:
			return err
		case !found || !equal(f.State, hashed(state)) || !c.Now.Before(f.Ends):
			return errFlow()
		}
		before := f
		ended, err := fn(&f)
		switch failure = err; {
		case ended:
			tx.Delete(key)
		case !reflect.DeepEqual(before, f):
			return tx.PutJSON(key, &f)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return failure
}

// knows reports whether a nonce is the one that the client began the login with.
func (f *flow) knows(nonce string) bool {
	return f.Client == nil || equal(f.Client, hashed(nonce))
}
