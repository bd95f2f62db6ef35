package server

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// One flipped byte damages one secret: its answer names the entry and shows
// nothing of it, and everything else is served.
func TestOneFlippedByteDamagesOneSecret(t *testing.T) {
	w := startFor(t, Config{InMemory: true, DevRoot: api.NewSecret("root")})
	before := w.keys()
	w.wants(200, "version", "root", "PUT", "secret/data/victim", `{"data":{"v":"tr0ub4dor","long":"`+strings.Repeat("x", 2<<10)+`"}}`) // so long that it has an entry of its own
	written := slices.DeleteFunc(w.keys(), func(k string) bool { return slices.Contains(before, k) })
	w.wants(200, "version", "root", "PUT", "secret/data/other", `{"data":{"v":"fine"}}`)
	damaged := 0
	for _, key := range written {
		if !strings.HasPrefix(key, "d/root/m/") {
			continue
		}
		damaged++
		whole := w.flip(key)
		out := w.wants(500, "is damaged", "root", "GET", "secret/data/victim", "")
		if text := out["errors"].([]any)[0].(string); !strings.Contains(text, "victim") && !strings.Contains(text, key[len("d/"):]) || strings.Contains(text, "tr0ub4dor") {
			t.Errorf("the entry %s is not named, or shown: %s", key, text)
		}
		w.wants(200, "fine", "root", "GET", "secret/data/other", "")
		w.wants(200, "victim", "root", "LIST", "secret/metadata", "")
		w.put(key, whole)
		w.wants(200, "tr0ub4dor", "root", "GET", "secret/data/victim", "") // the control: unharmed, it is answered
	}
	if damaged < 2 {
		t.Fatalf("%d entries of the secret were damaged; its metadata and its version at least were to be", damaged)
	}
}

// What a node could not read is asked for anew: the row of the namespace's key, which all others rest on, is put back
// without a change to any of them.
func TestPublishedKeysComeBack(t *testing.T) {
	w := startFor(t, Config{InMemory: true, DevRoot: api.NewSecret("root")})
	w.wants(204, "", "root", "POST", "identity/oidc/key/k", `{"algorithm": "ES256", "allowed_client_ids": "*"}`)
	w.wants(204, "", "root", "POST", "identity/oidc/role/r", `{"key": "k"}`)
	whole := w.flip("core/ns/root")
	w.wants(500, "", "", "GET", "identity/oidc/.well-known/keys", "")
	w.put("core/ns/root", whole)
	w.wants(200, "ES256", "", "GET", "identity/oidc/.well-known/keys", "")
}

// keys are all keys of the store below the barrier.
func (w *world) keys() []string {
	w.t.Helper()
	es, err := w.phys.List(w.t.Context(), store.Range{Start: "d/", End: store.PrefixEnd("d/"), KeysOnly: true})
	if err != nil {
		w.t.Fatal(err)
	}
	out := make([]string, len(es))
	for i, e := range es {
		out[i] = e.Key
	}
	return out
}

// flip changes one bit in the middle of an entry and returns what it was.
func (w *world) flip(key string) []byte {
	w.t.Helper()
	e, err := w.phys.Get(w.t.Context(), key)
	if err != nil {
		w.t.Fatal(err)
	}
	harmed := bytes.Clone(e.Value)
	harmed[len(harmed)/2] ^= 1
	w.put(key, harmed)
	return e.Value
}

func (w *world) put(key string, value []byte) {
	w.t.Helper()
	if _, err := w.phys.Commit(w.t.Context(), nil, []store.Write{{Key: key, Value: value}}); err != nil {
		w.t.Fatal(err)
	}
}
