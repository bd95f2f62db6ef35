package recipient

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"github.com/strongroom/strongroom/internal/api"
)

var now = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// person is a new OpenPGP key, which expires after an hour if it is to.
func person(t testing.TB, expires bool) *openpgp.Entity {
	t.Helper()
	config := &packet.Config{Time: func() time.Time { return now }, Algorithm: packet.PubKeyAlgoEdDSA}
	if expires {
		config.KeyLifetimeSecs = 3600
	}
	return must(openpgp.NewEntity("Ann", "", "ann@example.org", config))(t)
}

func public(t testing.TB, e *openpgp.Entity) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := e.Serialize(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func armoured(t testing.TB, key []byte) string {
	t.Helper()
	var out bytes.Buffer
	w := must(armor.Encode(&out, openpgp.PublicKeyType, nil))(t)
	_, err := w.Write(key)
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestOpenPGP(t *testing.T) {
	e := person(t, false)
	key := public(t, e)
	text := armoured(t, key)
	for name, form := range map[string]string{
		"base64": base64.StdEncoding.EncodeToString(key), "armoured": text,
		"armoured in base64": base64.StdEncoding.EncodeToString([]byte(text)), "with space": "\n" + text + "\n",
	} {
		r := must(Parse(form, now))(t)
		if len(r.Fingerprint()) != 40 {
			t.Errorf("%s: fingerprint %q", name, r.Fingerprint())
		}
		message := must(r.Encrypt(api.NewSecret("a share"), now))(t)
		if bytes.Contains(message, []byte("a share")) {
			t.Errorf("%s: it is in the clear", name)
		}
		md := must(openpgp.ReadMessage(bytes.NewReader(message), openpgp.EntityList{e}, nil, nil))(t)
		if got := must(io.ReadAll(md.UnverifiedBody))(t); string(got) != "a share" {
			t.Errorf("%s: decrypted %q", name, got)
		}
	}
}

func TestAge(t *testing.T) {
	x := must(age.GenerateX25519Identity())(t)
	pq := must(age.GenerateHybridIdentity())(t)
	for text, id := range map[string]age.Identity{x.Recipient().String(): x, pq.Recipient().String(): pq} {
		r := must(Parse(text, now))(t)
		message := must(r.Encrypt(api.NewSecret("a share"), now))(t)
		if got := must(io.ReadAll(must(age.Decrypt(bytes.NewReader(message), id))(t)))(t); string(got) != "a share" {
			t.Errorf("decrypted %q", got)
		}
	}
}

func TestRefused(t *testing.T) {
	e := person(t, true)
	var private bytes.Buffer
	if err := e.SerializePrivateWithoutSigning(&private, nil); err != nil {
		t.Fatal(err)
	}
	two := append(public(t, person(t, false)), public(t, person(t, false))...)
	b64 := base64.StdEncoding.EncodeToString
	for name, c := range map[string]struct {
		text, says string
		at         time.Time
	}{
		"nothing":           {"", "", now},
		"no key":            {b64([]byte("no key")), "", now},
		"keybase":           {"keybase:ann", "give the key itself", now},
		"a private key":     {b64(private.Bytes()), "private", now},
		"an age secret key": {must(age.GenerateX25519Identity())(t).String(), "private", now},
		"a mistyped age":    {"age1qqqq", "age recipient", now},
		"two keys":          {b64(two), "several", now},
		"an expired key":    {b64(public(t, e)), "expired", now.Add(2 * time.Hour)},
		"a long text":       {strings.Repeat("A", maxKey+1), "longer", now},
	} {
		_, err := ParseAll([]string{c.text}, c.at)
		if !errors.Is(err, ErrKey) || !strings.Contains(err.Error(), "key 1: ") || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
		if len(c.text) > 20 && strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: the error echoes the key", name)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p")
	f.Add(base64.StdEncoding.EncodeToString(public(f, person(f, false))))
	f.Add(armoured(f, public(f, person(f, false))))
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Parse(text, now)
		if (err == nil) == (r == nil) || err != nil && !errors.Is(err, ErrKey) {
			t.Errorf("%v, %v", r, err)
		}
	})
}
