// Package leak runs the real binary with secrets, tokens and keys that the test
// knows, and looks for them in every byte that the process writes or answers, and, after a
// seal, in its memory.
package leak

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/test/process"
)

// program is built with memory that is erased where the toolchain offers it, as
// `make build` does: with the same settings, so that both share what is compiled.
var program string

func TestMain(m *testing.M) {
	process.Main(func(dir string) (int, error) {
		for name, value := range map[string]string{"GOEXPERIMENT": "runtimesecret", "CGO_ENABLED": "0", "GOFLAGS": "-trimpath"} {
			if err := os.Setenv(name, value); err != nil {
				return 1, err
			}
		}
		var err error
		if program, err = process.Build(dir); err != nil {
			return 1, err
		}
		return m.Run(), nil
	})
}

// server is a running process that people unseal, with two of three shares.
type server struct {
	*process.Server
	dir   string
	keys  []string // unseal keys, in base64
	hexes []string // the same in hexadecimal
	root  string   // the root token
	all   []byte   // every answer that is not about secrets: failures and what describes the server
}

// start initialises a server at the most talkative level of its log, with audit
// on standard output and in a file, and unseals it. env is added to the environment.
func start(t *testing.T, env ...string) *server {
	t.Helper()
	addr, err := process.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	s := &server{dir: t.TempDir()}
	config := filepath.Join(s.dir, "config.hcl")
	text := fmt.Sprintf(`storage "pebble" { path = %q }
listener "tcp" { address = %q }
log_level = "trace"
audit "stdout" "out" {}
audit "file" "file" { options { file_path = %q } }
`, filepath.Join(s.dir, "data"), addr, filepath.Join(s.dir, "audit.log"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Server, err = process.StartIn(s.dir, append(os.Environ(), env...), addr, program, "server", "-config="+config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Kill(); err != nil {
			t.Error(err)
		}
	})
	s.initialise(t)
	return s
}

func (s *server) initialise(t *testing.T) {
	t.Helper()
	var made struct {
		Keys   []string `json:"keys"`
		Base64 []string `json:"keys_base64"`
		Root   string   `json:"root_token"`
	}
	if err := json.Unmarshal(s.want(t, 200, "PUT", "sys/init", "", `{"secret_shares":3,"secret_threshold":2}`), &made); err != nil {
		t.Fatal(err)
	}
	s.keys, s.hexes, s.root = made.Base64, made.Keys, made.Root
	if len(s.keys) != 3 || s.root == "" {
		t.Fatalf("%d keys", len(s.keys))
	}
	s.unseal(t)
}

func (s *server) unseal(t *testing.T) {
	t.Helper()
	for _, k := range s.keys[:2] {
		s.want(t, 200, "PUT", "sys/unseal", "", `{"key":"`+k+`"}`)
	}
}

// call sends one request over a connection of its own, whose buffers go with it.
func (s *server) call(t *testing.T, method, path, token, body string, headers ...string) (status int, answer []byte) {
	t.Helper()
	r, err := http.NewRequest(method, s.URL+"/v1/"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Close = true
	if token != "" {
		r.Header.Set("X-Vault-Token", token)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer, err = io.ReadAll(resp.Body)
	if cerr := resp.Body.Close(); err != nil || cerr != nil {
		t.Fatal(err, cerr)
	}
	return resp.StatusCode, answer
}

// want is call with the status that is expected.
func (s *server) want(t *testing.T, status int, method, path, token, body string, headers ...string) []byte {
	t.Helper()
	got, answer := s.call(t, method, path, token, body, headers...)
	if got != status {
		t.Fatalf("%s %s: %d, not %d: %s", method, path, got, status, answer)
	}
	return answer
}

// field is a text deep in an answer.
func field(t *testing.T, answer []byte, names ...string) string {
	t.Helper()
	var v any
	if err := json.Unmarshal(answer, &v); err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		m, ok := v.(map[string]any)
		if !ok {
			t.Fatalf("no %v in %s", names, answer)
		}
		v = m[n]
	}
	text, ok := v.(string)
	if !ok || text == "" {
		t.Fatalf("no %v in %s", names, answer)
	}
	return text
}

// soon asks again and again, until done or until a server has had its time to forget.
func soon(done func() bool) bool {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(forgotten); time.Now().Before(end); <-tick.C {
		if done() {
			return true
		}
	}
	return false
}
