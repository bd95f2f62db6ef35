package barrier

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestLabelsArePrefixFree(t *testing.T) {
	all := Labels()
	for i, a := range all {
		for j, b := range all {
			if i != j && strings.HasPrefix(string(b), string(a)) {
				t.Errorf("%q is a prefix of %q", a, b)
			}
		}
	}
}

// sealedAs is one message's full identity. Swapping any part must be refused.
type sealedAs struct {
	key     byte
	cluster string
	id      uint32
	name    string
}

func (a sealedAs) sealer() *sealer { return newSealer(testRoot(a.key), a.cluster, a.id) }

func TestOpenRefusesAnotherIdentity(t *testing.T) {
	home := sealedAs{1, "cluster", 2, "d/root/mount/kind/path/3"}
	message, err := home.sealer().seal(home.name, []byte("secret"))
	must(t, err)
	for name, other := range map[string]sealedAs{
		"key":       {9, "cluster", 2, home.name},
		"cluster":   {1, "cluste", 2, home.name},
		"id":        {1, "cluster", 3, home.name},
		"namespace": {1, "cluster", 2, "d/toor/mount/kind/path/3"},
		"mount":     {1, "cluster", 2, "d/root/other/kind/path/3"},
		"type":      {1, "cluster", 2, "d/root/mount/sort/path/3"},
		"path":      {1, "cluster", 2, "d/root/mount/kind/paths/3"},
		"version":   {1, "cluster", 2, "d/root/mount/kind/path/4"},
		"split":     {1, "clusterd/root/m", 2, "ount/kind/path/3"},
	} {
		plain, err := other.sealer().open(other.name, message)
		if plain != nil {
			t.Errorf("%s: opened", name)
		}
		wantErr(t, err, ErrOpen)
	}
	plain, err := home.sealer().open(home.name, message)
	if err != nil || string(plain) != "secret" {
		t.Errorf("at home it opens as %q, %v", plain, err)
	}
}

// TestOpenRefusesIDInHeader moves a message to another key id by its header
// under one and the same key, which the associated data has to catch.
func TestOpenRefusesIDInHeader(t *testing.T) {
	message, err := newSealer(testRoot(1), "cluster", 2).seal("name", []byte("secret"))
	must(t, err)
	message[4] = 3
	_, err = newSealer(testRoot(1), "cluster", 3).open("name", message)
	wantErr(t, err, ErrOpen)
}

func TestOpenRefusesEveryFlipAndTruncation(t *testing.T) {
	s := newSealer(testRoot(1), "cluster", 2)
	for _, plain := range []string{"", "v", strings.Repeat("value", 20)} {
		message, err := s.seal("name", []byte(plain))
		must(t, err)
		for at := range message {
			for bit := range 8 {
				bad := bytes.Clone(message)
				bad[at] ^= 1 << bit
				if _, err := s.open("name", bad); err == nil {
					t.Fatalf("bit %d of byte %d of %d flipped: opened", bit, at, len(message))
				}
			}
		}
		for n := range message {
			if _, err := s.open("name", message[:n]); err == nil {
				t.Fatalf("cut to %d of %d bytes: opened", n, len(message))
			}
		}
		if _, err := s.open("name", append(bytes.Clone(message), 0)); err == nil {
			t.Fatal("one byte longer: opened")
		}
		if got, err := s.open("name", message); err != nil || got == nil || string(got) != plain {
			t.Fatalf("unchanged it opens as %q, %v", got, err)
		}
	}
}

// TestCommitmentIsChecked gives a message the commitment of another key: the
// body still authenticates, but the key is not the one committed to.
func TestCommitmentIsChecked(t *testing.T) {
	s := newSealer(testRoot(1), "cluster", 2)
	one, err := s.seal("name", []byte("secret"))
	must(t, err)
	two, err := s.seal("name", []byte("secret"))
	must(t, err)
	copy(one[commitAt:bodyAt], two[commitAt:bodyAt])
	_, err = s.open("name", one)
	if err == nil || !strings.Contains(err.Error(), "commitment") {
		t.Errorf("a foreign commitment gives %v", err)
	}
}

func TestMessagesNeverRepeat(t *testing.T) {
	s := newSealer(testRoot(1), "cluster", 2)
	seen := map[string]bool{}
	for range 20_000 {
		message, err := s.seal("name", nil)
		must(t, err)
		salt, nonce := string(message[saltAt:commitAt]), string(message[bodyAt:bodyAt+nonceBytes])
		if seen[salt] || seen[nonce] {
			t.Fatal("a salt or a nonce came twice")
		}
		seen[salt], seen[nonce] = true, true
	}
}

// TestDerivationIsFixed pins the bytes of every derivation: a change would
// make everything stored unreadable. The expected values were computed with
// Python's hmac and hashlib from the formulas in the comments.
func TestDerivationIsFixed(t *testing.T) {
	k, err := DeriveKey(testRoot(1), "cluster", TokenHash)
	must(t, err)
	sum, err := k.HMAC(nil, []byte("to"), []byte("ken"))
	must(t, err)
	if got := fmt.Sprintf("%x", sum); got != wantTokenHash {
		t.Errorf("token hash = %s", got)
	}
	c := newSealer(testRoot(1), "cluster", 2).states.Get().(*scratch)
	c.derive(bytes.Repeat([]byte{5}, saltBytes))
	if got := fmt.Sprintf("%x", c.okm); got != wantMessageKey {
		t.Errorf("message key = %s", got)
	}
}

const (
	// HMAC(HKDF(secret 01.., salt "cluster", info "strongroom/v1/token-hash\x00mac"), "token")
	wantTokenHash = "a8dfe84c9fd131cb145353ceb0f411575be6d1efdda5d01625ba82e6f5b45ca3"
	// HMAC(01.., counter | "message key" | 0 | salt 05.. | 512) for counters 1 and 2
	wantMessageKey = "fa3c6c30e9f4cee15b1bd303c25d6afee2ed322bf69543c8b611ed5f0d755030" +
		"0fd3095ebb03ea5203a8c80faaf2a97ce8ac4e55259f087de7ba6d5f62e7ef94"
)

func TestKeySealsAndOpens(t *testing.T) {
	k, err := DeriveKey(testRoot(1), "cluster", BatchToken)
	must(t, err)
	other, err := DeriveKey(testRoot(1), "cluster", Cursor)
	must(t, err)
	if k.ID() == other.ID() {
		t.Error("two purposes share a key id")
	}
	message, err := k.Seal([]byte("claims"), "context")
	must(t, err)
	plain, err := k.Open(message, "context")
	if err != nil || string(plain) != "claims" {
		t.Errorf("Open = %q, %v", plain, err)
	}
	if _, err := k.Open(message, "other"); err == nil {
		t.Error("opened in another context")
	}
	if _, err := other.Open(message, "context"); err == nil {
		t.Error("opened for another purpose")
	}
}

func TestKeyNeverPrints(t *testing.T) {
	k, err := DeriveKey(testRoot(1), "cluster", TokenHash)
	must(t, err)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T%v"} {
		got := strings.TrimPrefix(fmt.Sprintf(verb, k), fmt.Sprintf("%T", k))
		if verb != "%T%v" && got != redacted {
			t.Errorf("%s prints %q", verb, got)
		}
	}
	text, err := json.Marshal(map[string]any{"k": k})
	if err != nil || string(text) != `{"k":"[redacted]"}` {
		t.Errorf("JSON is %s, %v", text, err)
	}
	var out bytes.Buffer
	slog.New(slog.NewTextHandler(&out, nil)).Info("m", "k", k)
	if !strings.Contains(out.String(), "k=[redacted]") {
		t.Errorf("slog writes %q", out.String())
	}
}

func FuzzOpen(f *testing.F) {
	s := newSealer(testRoot(1), "cluster", 2)
	genuine, err := s.seal("name", []byte("secret"))
	must(f, err)
	f.Add("name", genuine)
	f.Add("name", genuine[:bodyAt])
	f.Add("", []byte{})
	f.Add("name", bytes.Repeat([]byte{formatVersion}, Overhead))
	f.Fuzz(func(t *testing.T, name string, message []byte) {
		plain, err := s.open(name, message)
		if err == nil && !(name == "name" && string(plain) == "secret") { // only what was sealed
			t.Errorf("opened %q as %q", message, plain)
		}
		if err != nil {
			wantErr(t, err, ErrOpen)
		}
	})
}
