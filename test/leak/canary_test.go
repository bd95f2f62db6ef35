package leak

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/test/canary"
)

// Values that are planted. They hold what each way of writing a text escapes.
const (
	value     = `S3cr3t<&"valu\e>é-one-7d1f`
	second    = `S3cr3t-value-two-ünd+/=-90ab`
	custom    = "cust0m-metadata-of-a-secret-31c8"
	misplaced = "m1splaced-secret-5be2"
	guessed   = "hvs.B0gus-token-of-somebody-44d0"
	inEnv     = "pr0xy-passw0rd-of-the-env-2f6a"
)

func quoted(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// plant brings every kind of secret through the server, and returns them.
func (s *server) plant(t *testing.T) map[string]string {
	t.Helper()
	data := func(v string) string { return `{"data":{"password":` + quoted(t, v) + `}}` }
	s.want(t, 204, "POST", "sys/mounts/kv", s.root, `{"type":"kv","options":{"version":"2"}}`)
	s.want(t, 200, "POST", "kv/data/app", s.root, data(value))
	s.want(t, 200, "PATCH", "kv/data/app", s.root, data(second), "Content-Type", "application/merge-patch+json")
	s.want(t, 204, "POST", "kv/metadata/app", s.root, `{"custom_metadata":{"note":"`+custom+`"}}`)
	s.want(t, 200, "GET", "kv/data/app", s.root, "")
	s.want(t, 200, "GET", "kv/metadata/app", s.root, "")
	s.want(t, 200, "POST", "kv/data/large", s.root, data(strings.Repeat(value, 10_000)))
	s.want(t, 204, "POST", "cubbyhole/mine", s.root, `{"v":`+quoted(t, value)+`}`)
	secrets := map[string]string{"value": value, "second value": second, "metadata": custom, "misplaced": misplaced, "guess": guessed, "environment": inEnv, "root token": s.root}
	for i := range s.keys {
		secrets[fmt.Sprint("unseal key ", i)], secrets[fmt.Sprint("unseal key in hexadecimal ", i)] = s.keys[i], s.hexes[i]
	}
	made := s.want(t, 200, "POST", "auth/token/create", s.root, `{"ttl":"1h","policies":["default"]}`)
	secrets["token"], secrets["accessor"] = field(t, made, "auth", "client_token"), field(t, made, "auth", "accessor")
	secrets["batch token"] = field(t, s.want(t, 200, "POST", "auth/token/create", s.root, `{"type":"batch","policies":["default"],"ttl":"1h"}`), "auth", "client_token")
	wrapped := s.want(t, 200, "GET", "kv/data/app", s.root, "", "X-Vault-Wrap-TTL", "60")
	secrets["wrapping token"] = field(t, wrapped, "wrap_info", "token")
	s.want(t, 200, "POST", "sys/wrapping/lookup", "", `{"token":"`+secrets["wrapping token"]+`"}`)
	s.want(t, 200, "POST", "sys/wrapping/unwrap", secrets["wrapping token"], "")
	s.want(t, 200, "POST", "auth/token/lookup", s.root, `{"token":"`+secrets["token"]+`"}`)
	s.want(t, 200, "POST", "auth/token/renew-self", secrets["token"], `{}`)
	return secrets
}

// misplace sends secrets where they do not belong: in bodies of the wrong form,
// wrong types, unknown fields, headers, queries and paths. Exceptions, by name: the
// text of a policy and the names of parameters and of what is stored are shown in
// the audit log, as decision 4 says.
func (s *server) misplace(t *testing.T, secrets map[string]string) {
	t.Helper()
	q := quoted(t, misplaced)
	bodies := []string{q, "[" + q + "]", `{"unknown":` + q + `}`, `{"data":` + q + `}`, `{"data":{"x":` + q, `{"ttl":` + q + `,"type":` + q + `}`, `{"policy":` + q + `}`,
		`{"options":` + q + `,"config":` + q + `}`, `{"key":` + q + `,"reset":` + q + `}`, `{"secret_shares":` + q + `}`, misplaced, misplaced + "==", "a=" + misplaced, `{"token":"` + guessed + `"}`, `{"versions":[` + q + `]}`}
	paths := []string{"kv/data/app", "kv/metadata/app", "kv/config", "kv/destroy/app", "sys/unseal", "sys/init", "sys/mounts/x", "sys/mounts/kv/tune", "sys/policies/acl/x", "sys/audit/x", "sys/namespaces/x", "sys/remount",
		"sys/wrapping/wrap", "sys/wrapping/unwrap", "sys/key-slots", "sys/capabilities", "auth/token/create", "auth/token/lookup", "auth/token/renew", "auth/token/revoke", "auth/token/roles/x", "nomount/x", "sys/nothing"}
	for _, path := range paths {
		for _, body := range bodies {
			if strings.HasPrefix(path, "sys/policies/") && strings.HasPrefix(body, `{"policy"`) {
				continue // a policy's text is shown
			}
			for _, content := range []string{"application/json", "application/x-www-form-urlencoded"} {
				s.refused(t, "POST", path, s.root, body, "Content-Type", content, "X-Vault-Wrap-TTL", "", "X-Vault-MFA", misplaced, "Cookie", misplaced, "User-Agent", misplaced,
					"X-Vault-Index", secrets["token"], "Proxy-Authorization", misplaced, "X-Forwarded-For", misplaced)
			}
		}
	}
	for _, token := range []string{guessed, secrets["token"], secrets["batch token"], secrets["wrapping token"]} {
		for _, path := range []string{"auth/token/lookup/" + token, "auth/token/renew/" + token, "kv/data/" + token, "kv/data/app?token=" + token, "kv/data/app?version=" + token, "sys/wrapping/lookup?token=" + token, token} {
			s.refused(t, "GET", path, "", "", "Authorization", "Bearer "+guessed)
		}
	}
	for _, query := range []string{"x=" + misplaced + "&x=%zz", "list=" + misplaced, "version=" + misplaced, "limit=" + misplaced} {
		s.refused(t, "GET", "kv/data/app?"+query, s.root, "")
	}
}

// refused keeps the answer if it is a failure: others are what was asked for.
func (s *server) refused(t *testing.T, method, path, token, body string, headers ...string) {
	t.Helper()
	if status, answer := s.call(t, method, path, token, body, headers...); status >= 400 {
		s.all = append(append(s.all, answer...), '\n')
	}
}

// monitor follows the log over the API until the function it returns is called,
// which gives what came.
func (s *server) monitor(t *testing.T) func() []byte {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, "GET", s.URL+"/v1/sys/monitor?log_level=trace", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Vault-Token", s.root)
	resp, err := http.DefaultClient.Do(r)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("monitor: %v, %v", resp, err)
	}
	came := make(chan []byte)
	go func() {
		b, err := io.ReadAll(resp.Body)
		if err != nil && ctx.Err() == nil {
			t.Error(err)
		}
		came <- b
	}()
	return func() []byte {
		stop()
		defer resp.Body.Close()
		return <-came
	}
}

// describing are the endpoints that say something of the server. What needs sudo
// is asked with the root token.
func describing() []string {
	return []string{"sys/health", "sys/seal-status", "sys/leader", "sys/ha-status", "sys/key-status", "sys/key-slots?list=true", "sys/mounts", "sys/auth", "sys/audit", "sys/policies/acl?list=true", "sys/namespaces?list=true",
		"sys/config/state/sanitized", "sys/config/cors", "sys/host-info", "sys/in-flight-req", "sys/loggers", "sys/metrics", "sys/metrics?format=prometheus", "sys/pprof/", "sys/pprof/cmdline", "sys/pprof/symbol", "sys/pprof/goroutine?debug=2", "sys/pprof/heap?debug=1", "sys/pprof/allocs?debug=1", "sys/pprof/threadcreate?debug=1", "sys/pprof/trace?seconds=1",
		"sys/internal/specs/openapi", "sys/internal/ui/mounts", "sys/internal/counters/activity", "sys/plugins/catalog", "sys/storage/raft/configuration", "sys/raw/core/keyring", "sys/rotate/config", "sys/rekey/init", "sys/rekey/backup", "sys/generate-root/attempt",
		"sys/audit-hash/out", "sys/quotas/config", "sys/version-history?list=true", "kv/config", "kv/metadata?list=true", "auth/token/roles?list=true", "../metrics", "../debug/pprof/", "../debug/vars", "../"}
}

func (s *server) describe(t *testing.T) {
	t.Helper()
	for _, path := range describing() {
		for _, token := range []string{s.root, ""} {
			_, answer := s.call(t, "GET", path, token, "")
			s.all = append(append(s.all, answer...), '\n')
		}
	}
}

// places are all bytes that the process has written or answered, but for the
// answers that are the secrets.
func (s *server) places(t *testing.T) map[string][]byte {
	t.Helper()
	out := map[string][]byte{"standard output and error": []byte(s.Output()), "answers": s.all}
	err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		out["file "+path[len(s.dir):]] = append(b, path...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestNoByteLeaks brings secrets through a server that logs and audits all it
// can, and then looks for them, and for the keys, in every byte of it. CVE-2018-19786 and
// CVE-2020-13223 were such leaks: of the root key, and of the environment's passwords.
func TestNoByteLeaks(t *testing.T) {
	proxy := "http://user:" + inEnv + "@127.0.0.1:9"
	s := start(t, "HTTP_PROXY="+proxy, "https_proxy="+proxy, "VAULT_TOKEN="+inEnv, "BAO_TOKEN="+inEnv, "STRONGROOM_TOKEN="+inEnv, "AWS_SECRET_ACCESS_KEY="+inEnv)
	monitored := s.monitor(t)
	secrets := s.plant(t)
	s.misplace(t, secrets)
	s.want(t, 204, "POST", "sys/rotate", s.root, "") // has something to log
	soon(func() bool { return strings.Contains(s.Output(), "newest key") })
	log := monitored()
	if len(log) == 0 {
		t.Error("the log that the API shows is empty")
	}
	s.all = append(s.all, log...)
	s.describe(t)
	s.want(t, 204, "POST", "auth/token/revoke", s.root, `{"token":"`+secrets["token"]+`"}`)
	s.want(t, 200, "POST", "sys/namespaces/team", s.root, `{}`)
	s.want(t, 204, "PUT", "sys/seal", s.root, "")
	s.describe(t)
	for name, key := range keysOf(t, s).keys {
		secrets[name] = string(key)
	}
	places := s.places(t)
	if len(places) < 5 || len(places["file /audit.log"]) < 1<<20 || len(places["standard output and error"]) < 1<<20 || len(s.all) < 50_000 {
		t.Fatalf("there is too little to look at: %d places, %d bytes of audit, %d of output, %d of answers", len(places), len(places["file /audit.log"]), len(places["standard output and error"]), len(s.all))
	}
	for _, l := range canary.Leaks(places, secrets) {
		t.Error(l)
	}
	control(t, places, secrets)
}

// control plants one leak in each place, in each form, and has it found.
func control(t *testing.T, places map[string][]byte, secrets map[string]string) {
	t.Helper()
	for form, pattern := range canary.Forms(value) {
		for where := range places {
			planted := maps.Clone(places)
			planted[where] = append(append([]byte("x"), pattern...), planted[where]...)
			one := map[string][]byte{where: planted[where]}
			if len(canary.Leaks(one, map[string]string{"value": value})) == 0 {
				t.Errorf("control: %s planted in %s is not found", form, where)
			}
		}
	}
	if escaped := url.QueryEscape(secrets["value"]); escaped == value {
		t.Error("control: the value has nothing to escape")
	}
}
