package leak

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/barrier"
	"github.com/strongroom/strongroom/internal/seal"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/pebble"
)

// keyring is every key of a server, made from its shares and a copy of its store
// by the description in decision 2, and by nothing of package barrier.
type keyring struct {
	t       *testing.T
	cluster string
	keys    map[string][]byte
}

// keysOf reads a sealed server's keys.
func keysOf(t *testing.T, s *server) *keyring {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(s.dir, "data"))); err != nil {
		t.Fatal(err)
	}
	st, err := pebble.Open(filepath.Join(dir, "store"), pebble.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}()
	k := &keyring{t: t, keys: map[string][]byte{}}
	k.cluster = string(row(t, st, "core/cluster"))
	k.root(st, s)
	k.ring(row(t, st, "core/keyring"))
	k.namespaces(st)
	return k
}

func row(t *testing.T, st store.Store, key string) []byte {
	t.Helper()
	e, err := st.Get(context.Background(), key)
	if err != nil || !e.Exists() {
		t.Fatalf("%s: %v", key, err)
	}
	return e.Value
}

// root takes the slot's key from two shares, and the root key from the slot.
func (k *keyring) root(st store.Store, s *server) {
	shares := make([]seal.Share, 2)
	for i := range shares {
		var err error
		if shares[i], err = seal.ParseShare(api.NewSecret(s.keys[i])); err != nil {
			k.t.Fatal(err)
		}
	}
	slots, err := st.List(context.Background(), store.Prefix("core/slot/"))
	if err != nil || len(slots) != 1 {
		k.t.Fatalf("%d slots, %v", len(slots), err)
	}
	value := slots[0].Value
	size := binary.BigEndian.Uint32(value[1:])
	encoded, wrapped := value[5:5+size], value[5+size:]
	var header struct {
		Params json.RawMessage `json:"params"`
	}
	if err := json.Unmarshal(encoded, &header); err != nil {
		k.t.Fatal(err)
	}
	key, err := seal.Shamir{}.Combine(header.Params, shares)
	if err != nil {
		k.t.Fatal(err)
	}
	box := k.add("slot wrap", k.derive(k.add("slot key", key), string(barrier.SlotWrap)+"\x00box"))
	k.add("slot mac", k.derive(key, string(barrier.SlotWrap)+"\x00mac"))
	k.add("root key", k.open("slot", box, string(encoded), wrapped))
	k.add("slot directory", k.derive(k.keys["root key"], string(barrier.SlotDirectory)+"\x00mac"))
}

// ring opens the key ring: version 1 B | active 4 B | number 4 B, installed 8 B,
// secret 32 B each.
func (k *keyring) ring(sealed []byte) {
	box := k.add("key ring wrap", k.derive(k.keys["root key"], "strongroom/v1/key-ring"))
	plain := k.open("key ring", box, "core/keyring", sealed)
	for b := plain[5:]; len(b) >= 44; b = b[44:] {
		number := binary.BigEndian.Uint32(b)
		k.add(fmt.Sprint("epoch ", number), b[12:44])
		k.add(fmt.Sprint("namespace wrap ", number), k.derive(b[12:44], "strongroom/v1/namespace-seed"))
	}
}

// namespaces opens every namespace's seed, and derives what follows from it, down to
// the key of each entry.
func (k *keyring) namespaces(st store.Store) {
	rows, err := st.List(context.Background(), store.Prefix("core/ns/"))
	if err != nil || len(rows) < 2 {
		k.t.Fatalf("%d namespaces, %v", len(rows), err)
	}
	for _, r := range rows {
		id := strings.TrimPrefix(r.Key, "core/ns/")
		epoch := binary.BigEndian.Uint32(r.Value[1:])
		seed := k.add("seed "+id, k.open("seed", k.keys[fmt.Sprint("namespace wrap ", epoch)], r.Key, r.Value))
		for _, l := range []barrier.Label{barrier.TokenHash, barrier.AuditHMAC, barrier.BatchToken, barrier.Cursor, barrier.Fingerprint, barrier.TokenChecksum, barrier.Backup} {
			for _, use := range []string{"mac", "box"} {
				k.add(string(l)+" "+use+" "+id, k.derive(seed, string(l)+"\x00"+use))
			}
		}
		k.entries(st, id, seed)
	}
}

func (k *keyring) entries(st store.Store, id string, seed []byte) {
	for number := 1; k.keys[fmt.Sprint("epoch ", number)] != nil; number++ {
		secret := append(append([]byte(nil), k.keys[fmt.Sprint("epoch ", number)]...), seed...)
		k.add(fmt.Sprint("entries ", id, " ", number), k.derive(secret, "strongroom/v1/entry"))
	}
	rows, err := st.List(context.Background(), store.Prefix("d/"+id+"/"))
	if err != nil || len(rows) == 0 {
		k.t.Fatalf("%d entries, %v", len(rows), err)
	}
	for _, r := range rows {
		box := k.keys[fmt.Sprint("entries ", id, " ", binary.BigEndian.Uint32(r.Value[1:]))]
		k.open("entry "+r.Key, box, r.Key, r.Value)
	}
}

func (k *keyring) add(name string, key []byte) []byte {
	if len(key) != 32 {
		k.t.Fatalf("%s has %d bytes", name, len(key))
	}
	k.keys[name] = append([]byte(nil), key...)
	return key
}

func (k *keyring) derive(secret []byte, label string) []byte {
	out, err := hkdf.Key(sha256.New, secret, []byte(k.cluster), label, 32)
	if err != nil {
		k.t.Fatal(err)
	}
	return out
}

// open opens a message, and keeps the key that it has to itself.
func (k *keyring) open(name string, key []byte, context string, m []byte) []byte {
	var okm []byte
	for i := range 2 {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte{0, 0, 0, byte(i + 1)})
		mac.Write([]byte("message key\x00"))
		mac.Write(m[5:37])
		mac.Write([]byte{0, 0, 2, 0})
		okm = mac.Sum(okm)
	}
	k.add("message key of "+name, okm[:32])
	block, err := aes.NewCipher(okm[:32])
	if err != nil {
		k.t.Fatal(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		k.t.Fatal(err)
	}
	aad := []byte{0, 0, 0, 1, 1}
	for _, part := range []string{k.cluster, string(m[1:5]), context} {
		aad = append(binary.BigEndian.AppendUint32(aad, uint32(len(part))), part...)
	}
	out, err := aead.Open(nil, nil, m[69:], aad)
	if err != nil {
		k.t.Fatalf("%s does not open: %v", name, err)
	}
	return out
}

// patterns are what a key looks like in memory: its bytes, and the two states of
// HMAC-SHA256 that stand for it, as numbers of this machine and as they are kept
// between uses.
func (k *keyring) patterns() map[string][]byte {
	out := map[string][]byte{}
	for name, key := range k.keys {
		out[name] = key
		for use, pad := range map[string]byte{"inner": 0x36, "outer": 0x5c} {
			state := hmacState(k.t, key, pad)
			out[name+", state "+use] = state
			words := make([]byte, 0, 32)
			for i := 0; i < 32; i += 4 {
				words = binary.LittleEndian.AppendUint32(words, binary.BigEndian.Uint32(state[i:]))
			}
			out[name+", words "+use] = words
		}
	}
	return out
}

// hmacState is SHA-256's state after the key's padded block, big endian.
func hmacState(t *testing.T, key []byte, pad byte) []byte {
	t.Helper()
	block := make([]byte, 64)
	copy(block, key)
	for i := range block {
		block[i] ^= pad
	}
	h := sha256.New()
	h.Write(block)
	b, err := h.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return b[4:36] // after the magic number
}

// forgotten is how long a sealed server may take to erase what it knew.
const forgotten = 10 * time.Second
