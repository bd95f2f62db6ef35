package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/audit"
	"github.com/strongroom/strongroom/internal/seal"
)

// world is a server under test and what it has printed.
type world struct {
	*Server
	t      testing.TB
	stdout *bytes.Buffer
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

func start(t testing.TB, c Config) *world {
	t.Helper()
	c.Listeners = []Listener{{Address: "127.0.0.1:0"}}
	w := &world{t: t, stdout: &bytes.Buffer{}}
	var err error
	if w.Server, err = Open(t.Context(), &c, quiet(), w.stdout, time.Now); err != nil {
		t.Fatal(err)
	}
	return w
}

// startFor is start with an end when the test ends.
func startFor(t testing.TB, c Config) *world {
	w := start(t, c)
	t.Cleanup(w.end)
	return w
}

func (w *world) end() {
	w.t.Helper()
	if err := w.Close(); err != nil {
		w.t.Fatal(err)
	}
}

var tokenText = regexp.MustCompile(`Root token: (\S+)`)

// printed is the root token that the server has printed; empty when none.
func (w *world) printed() string {
	if m := tokenText.FindStringSubmatch(w.stdout.String()); m != nil {
		return m[1]
	}
	return ""
}

// ask sends a request and decodes the answer.
func (w *world) ask(token, method, path, body string) (int, map[string]any) {
	w.t.Helper()
	r := httptest.NewRequestWithContext(w.t.Context(), method, "/v1/"+path, strings.NewReader(body))
	r.Header.Set("X-Vault-Token", token)
	rec := httptest.NewRecorder()
	w.door.ServeHTTP(rec, r)
	var out map[string]any
	if rec.Body.Len() > 0 {
		if err := json.Unmarshal(rec.Body.Bytes(), &out); err != nil {
			w.t.Fatalf("%s %s: %s", method, path, rec.Body)
		}
	}
	return rec.Code, out
}

// wants asks and fails unless the status and a part of the answer are right.
func (w *world) wants(status int, part, token, method, path, body string) map[string]any {
	w.t.Helper()
	code, out := w.ask(token, method, path, body)
	text, err := json.Marshal(out)
	if err != nil || code != status || !strings.Contains(string(text), part) {
		w.t.Fatalf("%s %s: %d %s; want %d and %s", method, path, code, text, status, part)
	}
	return out
}

func TestFirstStartPrintsTheTokenOnce(t *testing.T) {
	c := Config{DataDir: t.TempDir(), LocalSlot: true}
	one := start(t, c)
	token := one.printed()
	one.wants(204, "", token, "POST", "sys/mounts/kv", `{"type":"kv"}`)
	one.wants(204, "", token, "POST", "kv/a", `{"v":"1"}`)
	one.end()
	two := startFor(t, c)
	if token == "" || two.printed() != "" {
		t.Fatalf("first %q, then %q", token, two.printed())
	}
	two.wants(200, `"v":"1"`, token, "GET", "kv/a", "")
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("broken") }

// A first start that made the store and showed no token is made up for.
func TestFirstStartIsCutShort(t *testing.T) {
	c := Config{DataDir: t.TempDir(), LocalSlot: true, Listeners: []Listener{{Address: "127.0.0.1:0"}}}
	if _, err := Open(t.Context(), &c, quiet(), brokenWriter{}, time.Now); err == nil {
		t.Fatal("nobody saw the token and the start went on")
	}
	one := start(t, c)
	token := one.printed()
	one.wants(200, `"root"`, token, "GET", "auth/token/lookup-self", "")
	one.end()
	two := startFor(t, c)
	if two.printed() != "" {
		t.Fatal("a token was printed again")
	}
}

// A kill right after the store was made leaves no unsealed data and no token.
func TestFirstStartIsKilledAfterInit(t *testing.T) {
	c := Config{DataDir: t.TempDir()}
	one := start(t, c)
	one.seal = seal.NewManager(one.barrier, one.phys, c.slotKinds(), time.Now)
	if _, err := one.seal.Init(t.Context(), seal.InitConfig{Slots: []seal.SlotSpec{{Kind: seal.KindFile}}}); err != nil {
		t.Fatal(err)
	}
	one.end()
	c.LocalSlot = true
	two := startFor(t, c)
	two.wants(200, `"root"`, two.printed(), "GET", "auth/token/lookup-self", "")
}

// Of several who ask for the first recovery keys at once one gets them: a second set
// that works beside it would be nobody's to replace.
func TestFirstRecoveryKeysAreMadeOnce(t *testing.T) {
	w := startFor(t, Config{DataDir: t.TempDir(), LocalSlot: true})
	root, answers := w.printed(), make(chan bool, 16)
	for range cap(answers) {
		go func() {
			_, a := w.ask(root, "PUT", "sys/rotate/recovery/init", `{"secret_shares":1,"secret_threshold":1}`)
			data, _ := a["data"].(map[string]any)
			answers <- data["complete"] == true
		}()
	}
	made := 0
	for range cap(answers) {
		if <-answers {
			made++
		}
	}
	if made != 1 {
		t.Errorf("%d sets of recovery keys", made)
	}
}

// A server whose key file is gone runs sealed if people can unseal it, and else
// says what is missing.
func TestKeyFileIsGone(t *testing.T) {
	c := Config{DataDir: t.TempDir(), LocalSlot: true, Listeners: []Listener{{Address: "127.0.0.1:0"}}}
	one := start(t, c)
	token := one.printed()
	slot := one.wants(200, "keys_base64", token, "POST", "sys/key-slots", `{"kind":"shamir","secret_shares":1,"secret_threshold":1}`)
	key := slot["data"].(map[string]any)["keys_base64"].([]any)[0].(string)
	one.end()
	if err := os.Rename(filepath.Join(c.DataDir, "keys"), filepath.Join(c.DataDir, "away")); err != nil {
		t.Fatal(err)
	}
	two := start(t, c)
	two.wants(503, "Vault is sealed", token, "GET", "sys/mounts", "")
	two.wants(200, `"sealed":false`, "", "POST", "sys/unseal", `{"key":"`+key+`"}`)
	slots := two.wants(200, "file", token, "LIST", "sys/key-slots", "")
	for id, info := range slots["data"].(map[string]any)["key_info"].(map[string]any) {
		if info.(map[string]any)["kind"] == "shamir" {
			two.end() // closes the store; the slot is removed by the next server
			three := start(t, c)
			three.wants(200, `"sealed":false`, "", "POST", "sys/unseal", `{"key":"`+key+`"}`)
			three.wants(204, "", token, "DELETE", "sys/key-slots/"+id, "")
			three.end()
		}
	}
	if _, err := Open(t.Context(), &c, quiet(), io.Discard, time.Now); err == nil || !strings.Contains(err.Error(), "local key slot") {
		t.Fatalf("it starts although nobody can unseal it: %v", err)
	}
}

func TestUninitialised(t *testing.T) {
	w := startFor(t, Config{InMemory: true})
	w.wants(503, "Vault is not initialized", "x", "GET", "secret/a", "")
	w.wants(200, `"initialized":false`, "", "GET", "sys/init", "")
	w.wants(501, `"initialized":false`, "", "GET", "sys/health", "")
	w.wants(400, "Vault is not initialized", "", "POST", "sys/unseal", `{"key":"aa"}`)
	w.wants(400, "Vault is not initialized", "", "POST", "sys/unseal", `{"reset":true}`)
	for _, body := range []string{`{}`, `{"secret_shares":0,"secret_threshold":0}`, `{"secret_shares":256,"secret_threshold":3}`, `{"secret_shares":3,"secret_threshold":4}`,
		`{"secret_shares":3,"secret_threshold":1}`, `{"secret_shares":5,"secret_threshold":3,"pgp_keys":["a"]}`} {
		w.wants(400, "errors", "", "POST", "sys/init", body)
	}
	w.wants(200, `"initialized":false`, "", "GET", "sys/init", "")
}

func texts(v any) []string {
	var out []string
	for _, x := range v.([]any) {
		out = append(out, x.(string))
	}
	return out
}

func (w *world) unseal(key string) map[string]any {
	w.t.Helper()
	return w.wants(200, "", "", "POST", "sys/unseal", `{"key":"`+key+`"}`)
}

func TestInitUnsealSeal(t *testing.T) {
	w := startFor(t, Config{InMemory: true})
	made := w.wants(200, "root_token", "", "POST", "sys/init", `{"secret_shares":5,"secret_threshold":3}`)
	keys, hexes, root := texts(made["keys_base64"]), texts(made["keys"]), made["root_token"].(string)
	w.wants(400, "already initialized", "", "POST", "sys/init", `{"secret_shares":1,"secret_threshold":1}`)
	w.wants(503, "Vault is sealed", root, "GET", "sys/mounts", "")
	w.wants(503, `"sealed":true`, "", "GET", "sys/health", "")
	w.wants(299, `"sealed":true`, "", "GET", "sys/health?sealedcode=299", "")
	w.wants(400, "", "", "GET", "sys/health?sealedcode=99", "")

	w.unseal(keys[0])
	if s := w.unseal(hexes[0]); s["progress"] != 1.0 || s["t"] != 3.0 || s["n"] != 5.0 || s["nonce"] == "" {
		t.Fatalf("one key handed in twice: %v", s)
	}
	wrong := []byte(keys[1])
	wrong[20] ^= 1
	w.wants(400, "not an unseal key", "", "POST", "sys/unseal", `{"key":"`+string(wrong)+`"}`)
	w.wants(400, "'key' must be specified", "", "POST", "sys/unseal", `{}`)
	w.unseal(keys[1])
	w.wants(200, `"progress":0`, "", "POST", "sys/unseal", `{"reset":true,"key":"`+keys[0]+`"}`)
	w.wants(200, `"progress":0`, "", "POST", "sys/unseal", `{"reset":true}`)
	w.unseal(keys[4])
	w.wants(400, "are being handed in", "", "POST", "sys/unseal", `{"reset":true}`)
	w.unseal(hexes[2])
	if s := w.unseal(keys[1]); s["sealed"] != false || s["progress"] != 0.0 {
		t.Fatalf("three keys of five: %v", s)
	}
	w.wants(200, "sys/", root, "GET", "sys/mounts", "")
	w.wants(400, "vault is unsealed", "", "POST", "sys/unseal", `{"reset":true}`)
	w.wants(200, `"sealed":false`, "", "POST", "sys/unseal", `{"key":"`+keys[0]+`"}`)

	w.wants(403, "permission denied", "", "POST", "sys/seal", "")
	w.wants(204, "", root, "POST", "sys/seal", "")
	for _, path := range []string{"sys/mounts", "secret/a", "auth/token/lookup-self", "sys/policy"} {
		w.wants(503, "Vault is sealed", root, "GET", path, "")
	}
	w.wants(200, `"sealed":true`, "", "GET", "sys/seal-status", "")
	for _, k := range keys[:3] {
		w.unseal(k)
	}
	w.wants(200, "sys/", root, "GET", "sys/mounts", "")
}

// The keys of another cluster are told from those of this one.
func TestUnsealWithAnothersKey(t *testing.T) {
	one, two := startFor(t, Config{InMemory: true}), startFor(t, Config{InMemory: true})
	body := `{"secret_shares":2,"secret_threshold":2}`
	others := texts(one.wants(200, "", "", "POST", "sys/init", body)["keys"])
	two.wants(200, "", "", "POST", "sys/init", body)
	two.wants(400, "unseal key", "", "POST", "sys/unseal", `{"key":"`+others[0]+`"}`)
	two.wants(200, `"progress":0`, "", "GET", "sys/seal-status", "")
}

func TestKeySlots(t *testing.T) {
	w := startFor(t, Config{DevRoot: api.NewSecret("root")})
	for _, body := range []string{`{}`, `{"kind":"tpm"}`, `{"kind":"file"}`, `{"kind":"shamir","secret_shares":2,"secret_threshold":1}`} {
		w.wants(400, "errors", "root", "POST", "sys/key-slots", body)
	}
	added := w.wants(200, "", "root", "POST", "sys/key-slots", `{"kind":"shamir","name":"mine","secret_shares":3,"secret_threshold":2}`)["data"].(map[string]any)
	id, keys := added["id"].(string), texts(added["keys"])
	w.wants(204, "", "root", "POST", "sys/key-slots/"+id+"/test", `{"keys":["`+keys[0]+`","`+keys[2]+`"]}`)
	w.wants(400, "not enough", "root", "POST", "sys/key-slots/"+id+"/test", `{"keys":["`+keys[0]+`"]}`)
	w.wants(400, "not an unseal key", "root", "POST", "sys/key-slots/"+id+"/test", `{"keys":["x"]}`)
	w.wants(404, "no key slot has this id", "root", "POST", "sys/key-slots/nosuch/test", `{}`)
	w.wants(404, "no key slot has this id", "root", "DELETE", "sys/key-slots/nosuch", "")
	w.wants(400, "known to unseal; test one", "root", "DELETE", "sys/key-slots/"+id, "")
	for other := range w.slots() {
		if other != id {
			w.wants(204, "", "root", "DELETE", "sys/key-slots/"+other, "")
		}
	}
	w.wants(400, "last key slot", "root", "DELETE", "sys/key-slots/"+id, "")
}

// slots are the key slots by their ids.
func (w *world) slots() map[string]any {
	w.t.Helper()
	return w.wants(200, "", "root", "LIST", "sys/key-slots", "")["data"].(map[string]any)["key_info"].(map[string]any)
}

// A slot whose unseal keys nobody has tried never becomes the only way in, also
// not when the server was started anew between.
func TestUntestedSlotIsNotRelied(t *testing.T) {
	w := startFor(t, Config{DevRoot: api.NewSecret("root")})
	add := func() (id, key string) {
		slot := w.wants(200, `"keys"`, "root", "POST", "sys/key-slots", `{"kind":"shamir","secret_shares":1,"secret_threshold":1}`)["data"].(map[string]any)
		return slot["id"].(string), texts(slot["keys"])[0]
	}
	one, key := add()
	two, _ := add()
	w.wants(400, "test one with its unseal keys first", "root", "DELETE", "sys/key-slots/"+two, "")
	w.wants(204, "", "root", "POST", "sys/key-slots/"+one+"/test", `{"keys":["`+key+`"]}`)
	if info := w.slots(); info[one].(map[string]any)["tested"] != true || info[two].(map[string]any)["tested"] != false {
		t.Fatalf("slots: %v", info)
	}
	w.wants(400, "test one with its unseal keys first", "root", "DELETE", "sys/key-slots/"+one, "")
	w.wants(204, "", "root", "DELETE", "sys/key-slots/"+two, "")
	w.wants(204, "", "root", "POST", "sys/seal", "")
	w.wants(200, `"sealed":false`, "", "POST", "sys/unseal", `{"key":"`+key+`"}`)
	w.wants(400, "test one with its unseal keys first", "root", "DELETE", "sys/key-slots/"+one, "")
	three, its := add()
	w.wants(204, "", "root", "POST", "sys/seal", "")
	w.wants(200, `"sealed":false`, "", "POST", "sys/unseal", `{"key":"`+its+`"}`)
	if info := w.slots(); info[three].(map[string]any)["tested"] != true {
		t.Errorf("a slot that has unsealed counts as untested: %v", info)
	}
	w.wants(204, "", "root", "DELETE", "sys/key-slots/"+one, "")
}

// What a server says of its seal follows from its slots, not its configuration.
func TestFileSlotIsTold(t *testing.T) {
	dir := t.TempDir()
	w := startFor(t, Config{InMemory: true, SlotPath: filepath.Join(dir, "keys")})
	made := w.wants(200, "root_token", "", "POST", "sys/init", `{"secret_shares":1,"secret_threshold":1}`)
	w.unseal(texts(made["keys"])[0])
	root := made["root_token"].(string)
	w.wants(200, `"recovery_seal":false,"sealed":false,"storage_type":"inmem","t":1,"type":"shamir"`, "", "GET", "sys/seal-status", "")
	added := w.wants(200, "no longer needs people: it unseals itself by a key in "+filepath.Join(dir, "keys"), root, "POST", "sys/key-slots", `{"kind":"file"}`)
	w.wants(200, `"recovery_seal":true,"sealed":false,"storage_type":"inmem","t":1,"type":"file"`, "", "GET", "sys/seal-status", "")
	for id := range w.wants(200, "", root, "LIST", "sys/key-slots", "")["data"].(map[string]any)["key_info"].(map[string]any) {
		if id != added["data"].(map[string]any)["id"] {
			w.wants(204, "", root, "DELETE", "sys/key-slots/"+id, "") // the file is known to unseal
		}
	}
	w.wants(200, `"t":0,"type":"file"`, "", "GET", "sys/seal-status", "")
}

func TestRootOnly(t *testing.T) {
	w := startFor(t, Config{DevRoot: api.NewSecret("root")})
	w.wants(200, "", "root", "POST", "sys/namespaces/a", "")
	for _, path := range []string{"a/sys/health", "a/sys/key-status", "a/sys/init"} {
		w.wants(400, "operation unavailable in namespaces", "root", "GET", path, "")
	}
	w.wants(204, "", "root", "POST", "a/sys/mounts/kv", `{"type":"kv"}`)
	w.wants(204, "", "root", "POST", "a/kv/x", `{"v":"1"}`)
	w.wants(200, "in-progress", "root", "DELETE", "sys/namespaces/a", "")
	w.wants(404, "", "root", "GET", "a/kv/x", "")
}

// The operator's lease durations are those of tokens and mounts.
func TestLeaseLimitsAreKept(t *testing.T) {
	w := startFor(t, Config{DevRoot: api.NewSecret("root"), DefaultTTL: time.Hour, MaxTTL: 2 * time.Hour})
	w.wants(200, `"lease_duration":3600`, "root", "POST", "auth/token/create", `{"policies":["default"]}`)
	w.wants(200, `"lease_duration":7200`, "root", "POST", "auth/token/create", `{"policies":["default"],"ttl":"24h"}`)
	w.wants(204, "", "root", "POST", "auth/token/roles/r", `{"allowed_policies":"default"}`)
	w.wants(200, `"lease_duration":7200`, "root", "POST", "auth/token/create/r", `{"ttl":"24h"}`)
	w.wants(200, `"default_lease_ttl":3600,`, "root", "GET", "sys/mounts/secret/tune", "")
	w.wants(200, `"max_lease_ttl":7200`, "root", "GET", "sys/mounts/secret/tune", "")
	w.wants(400, "longer than the system's maximum", "root", "POST", "sys/mounts/secret/tune", `{"default_lease_ttl":"3h"}`)
}

// A directory with the store of another program stays as it is; one that has
// ours beside it serves.
func TestForeignStore(t *testing.T) {
	for _, name := range []string{"vault.db", "raft/raft.db", "core/_keyring", "sys/policy/_x", "logical/a/_b", "_migration"} {
		dir := t.TempDir()
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("x"), 0o600)); err != nil {
			t.Fatal(err)
		}
		c := Config{DataDir: dir, LocalSlot: true, Listeners: []Listener{{Address: "127.0.0.1:0"}}}
		_, err := Open(t.Context(), &c, quiet(), io.Discard, time.Now)
		if err == nil || !strings.Contains(err.Error(), "another program") || !strings.Contains(err.Error(), "name an empty directory") {
			t.Errorf("%s: %v", name, err)
		}
		if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
			t.Errorf("%s: the directory was touched: %v, %v", name, left, err)
		}
		if err := os.MkdirAll(filepath.Join(dir, "store"), 0o700); err != nil {
			t.Fatal(err)
		}
		start(t, c).end()
	}
}

// Where a name is missing or wrong the answer says so, and help about a mount
// lists what is in it.
func TestAnswersInWords(t *testing.T) {
	w := startFor(t, Config{DevRoot: api.NewSecret("root")})
	for _, path := range []string{"sys/policy", "sys/policy/", "sys/policies/acl", "sys/policies/acl/"} {
		w.wants(400, "name: missing the policy's name", "root", "POST", path, `{"policy":"path \"a\" {}"}`)
		w.wants(400, "name: missing the policy's name", "root", "DELETE", path, "")
		w.wants(403, "permission denied", "", "POST", path, "")
	}
	for _, path := range []string{"sys/namespaces", "sys/namespaces/"} {
		w.wants(400, "path: missing the namespace's name", "root", "POST", path, "")
		w.wants(400, "path: missing the namespace's name", "root", "DELETE", path, "")
	}
	for _, c := range []struct{ method, path, takes string }{
		{"LIST", "sys/locked-users", "read"}, {"GET", "sys/mfa/validate", "write"}, {"POST", "identity/entity/id", "list"}, {"DELETE", "identity/entity", "write"}, {"PUT", "identity/oidc/.well-known/keys", "read"},
		{"LIST", "identity/entity/id/x", "read, write, delete"},
	} {
		w.wants(405, "unsupported operation; this path takes "+c.takes+`"`, "root", c.method, c.path, "")
	}
	for _, path := range []string{"sys/namespaces/nope/seal", "sys/namespaces/nope/unseal", "sys/namespaces/nope/rotate/root/init"} {
		w.wants(404, "path: there is no such namespace right below", "root", "PUT", path, `{"key":"x"}`)
	}
	w.wants(404, "name: there is no such key", "root", "PUT", "identity/oidc/key/nope/rotate", "")
	w.wants(404, "method_id: no method", "root", "PUT", "identity/mfa/method/totp/nope", `{"issuer":"x"}`)
	for path, part := range map[string]string{"secret": "WRITE secret/data/{path...}", "secret/": "WRITE secret/metadata/{path...}", "sys": "sys/key-slots", "auth/token": "auth/token/create", "cubbyhole": "cubbyhole/"} {
		w.wants(200, part, "root", "GET", path+"?help=1", "")
	}
	w.wants(403, "permission denied", "", "GET", "secret?help=1", "")
	w.wants(404, "", "root", "GET", "sys/nosuch?help=1", "")
}

// SIGHUP's work: a log that was moved away is begun anew.
func TestReopenAuditFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "audit.log")
	w := startFor(t, Config{DevRoot: api.NewSecret("root"), Audit: []*audit.Declaration{{Type: "file", Path: "file/", Options: map[string]string{"file_path": path}}}})
	w.wants(200, "", "root", "GET", "sys/mounts", "")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := w.Reopen(); err != nil {
		t.Fatal(err)
	}
	w.wants(200, "", "root", "GET", "sys/policy", "")
	for name, want := range map[string]string{path + ".1": "sys/mounts", path: "sys/policy"} {
		b, err := os.ReadFile(name)
		if err != nil || !strings.Contains(string(b), want) {
			t.Errorf("%s lacks %s: %v", name, want, err)
		}
	}
}

// Requests in flight while the server is sealed end as answered or as sealed.
func TestSealWithRequestsInFlight(t *testing.T) {
	w := startFor(t, Config{DevRoot: api.NewSecret("root")})
	done := make(chan map[int]int)
	for range 4 {
		go func() {
			codes := map[int]int{}
			for range 200 {
				r := httptest.NewRequest(http.MethodPost, "/v1/secret/data/a", strings.NewReader(`{"data":{"v":"1"}}`))
				r.Header.Set("X-Vault-Token", "root")
				rec := httptest.NewRecorder()
				w.door.ServeHTTP(rec, r)
				codes[rec.Code]++
			}
			done <- codes
		}()
	}
	w.wants(204, "", "root", "POST", "sys/seal", "")
	for range 4 {
		for code, n := range <-done {
			if code != http.StatusOK && code != http.StatusServiceUnavailable {
				t.Errorf("%d answers of %d", n, code)
			}
		}
	}
}
