package blackbox

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/server/servertest"
)

func TestCVE_2023_6337_UnauthenticatedBodies(t *testing.T) {
	s := furnished(t)
	var all sync.WaitGroup
	chunk := bytes.Repeat([]byte("x"), 32<<10)
	var peak uint64
	for range 64 {
		all.Go(func() {
			conn, err := net.Dial("tcp", s.Addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(20 * time.Second))
			fmt.Fprintf(conn, "POST /v1/kv1/x HTTP/1.1\r\nHost: x\r\nX-Vault-Token: bogus\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n{\"a\": \"x\r\n")
			for range 1024 { // 32 MiB, if the server takes them
				if _, err := fmt.Fprintf(conn, "%x\r\n%s\r\n", len(chunk), chunk); err != nil {
					return
				}
			}
			t.Error("the server took a large body from nobody")
		})
	}
	all.Wait()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if peak = m.HeapSys; peak > 512<<20 {
		t.Errorf("the heap has grown to %d MiB", peak>>20)
	}
	s.Want(t, 200, "GET", "kv1/a", root, "")
}

func TestCVE_2025_6203_StructureBombs(t *testing.T) {
	s := furnished(t)
	const size = 4 << 20
	for name, body := range map[string]string{
		"depth": strings.Repeat(`{"a":`, size/5), "arrays": `{"a":` + strings.Repeat("[", size), "members": "{" + strings.Repeat(`"":0,`, size/5) + `"x":0}`,
		"texts": `{"a":[` + strings.Repeat(`"",`, size/3) + `""]}`, "numbers": `{"a":1` + strings.Repeat("0", size) + `}`, "exponent": `{"a":1e` + strings.Repeat("9", size) + `}`,
		"escapes": `{"a":"` + strings.Repeat(`\u0000`, size/6) + `"}`, "quotes": strings.Repeat(`"`, size), "space": strings.Repeat(" ", size) + "{}",
	} {
		for _, path := range []string{"kv1/bomb", "secret/data/bomb", "auth/token/create", "sys/policies/acl/bomb"} {
			begun := time.Now()
			a := s.Do(t, "POST", path, root, body)
			if took := time.Since(begun); took > 5*time.Second {
				t.Errorf("%s to %s took %v", name, path, took)
			}
			if a.Status >= 500 {
				t.Errorf("%s to %s: %d %.200s", name, path, a.Status, a.Body)
			}
			if b := s.Do(t, "POST", path, "bogus", body); b.Status != 413 {
				t.Errorf("%s to %s without a token: %d", name, path, b.Status)
			}
		}
	}
}

func TestCVE_2023_5954_MemoryPerPath(t *testing.T) {
	s := servertest.Start(t, servertest.Silent)
	token := s.Policy(t, "", "paths", `path "secret/data/+/x" { capabilities = ["read"] allowed_parameters = { "*" = [] } }`)
	handler := s.Handler()
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	ask := func(from, to int) {
		for i := from; i < to; i++ {
			r := httptest.NewRequest("GET", fmt.Sprintf("/v1/secret/data/%d%s/x", i, strings.Repeat("p", 200)), nil)
			r.Header.Set("X-Vault-Token", token)
			handler.ServeHTTP(httptest.NewRecorder(), r)
		}
	}
	ask(0, 2000)
	before := heap()
	ask(2000, 22_000)
	if after := heap(); after > before+4<<20 {
		t.Errorf("20,000 paths have left %d KiB behind", (after-before)>>10)
	}
}

func TestCVE_2021_45042_LongNames(t *testing.T) {
	s := furnished(t)
	for _, n := range []int{1 << 10, 3 << 10, 30 << 10, 1 << 20} {
		name := strings.Repeat("n", n)
		for _, target := range []string{"/v1/kv1/" + name, "/v1/kv1/" + strings.Repeat("n/", n/2) + "x", "/v1/" + name + "/x", "/v1/sys/policies/acl/" + name, "/v1/sys/mounts/" + name, "/v1/sys/namespaces/" + name} {
			a := s.Raw(t, "POST", []byte("POST "+target+" HTTP/1.1\r\nHost: x\r\nX-Vault-Token: "+root+"\r\nConnection: close\r\nContent-Length: 24\r\n\r\n{\"type\":\"kv\",\"a\":\"bcdef\"}"))
			if a.Status >= 500 || a.Status < 300 && n > 2048 {
				t.Errorf("%d bytes, %.30s: %d %.200s", n, target, a.Status, a.Body)
			}
		}
	}
	s.Want(t, 200, "GET", "kv1/a", root, "")
	s.Want(t, 200, "LIST", "kv1/", root, "")
}

func TestGHSA_pm3m_32r3_7mfh_NegativeValues(t *testing.T) {
	s := furnished(t)
	for _, c := range []struct{ path, field string }{
		{"auth/token/create", "ttl"}, {"auth/token/create", "num_uses"}, {"auth/token/create", "explicit_max_ttl"}, {"auth/token/create", "period"}, {"auth/token/roles/r", "token_period"}, {"auth/token/roles/r", "token_num_uses"},
		{"auth/token/roles/r", "token_explicit_max_ttl"}, {"sys/mounts/kv1/tune", "default_lease_ttl"}, {"sys/mounts/kv1/tune", "max_lease_ttl"}, {"secret/config", "max_versions"}, {"secret/metadata/a", "max_versions"}, {"secret/metadata/a", "delete_version_after"},
	} {
		for _, v := range []string{"-1", `"-1"`, `"-1h"`, "-9223372036854775808", "9223372036854775808", `"99999999999999999999s"`, `"NaN"`, "1e300", "-0.5"} {
			if a := s.Do(t, "POST", c.path, root, `{"`+c.field+`":`+v+`}`); a.Status >= 500 {
				t.Errorf("%s %s=%s: %d %s", c.path, c.field, v, a.Status, a.Body)
			}
		}
	}
	s.Want(t, 200, "GET", "secret/data/a", root, "")
	s.Want(t, 200, "GET", "kv1/a", root, "")
}

func TestSlowAndSplitClients(t *testing.T) {
	s := furnished(t)
	var slow []net.Conn
	for range 200 {
		conn, err := net.Dial("tcp", s.Addr)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, "GET /v1/kv1/a HTTP/1.1\r\nHost: x\r\nX-Slow: ")
		slow = append(slow, conn)
	}
	s.Want(t, 200, "GET", "kv1/a", root, "")
	for _, c := range slow {
		c.Close()
	}
	for _, raw := range []string{
		"GET /v1/kv1/a HTTP/1.1\r\nHost: x\r\nX-Vault-Token: " + root + "\r\n folded\r\n\r\n",
		"POST /v1/kv1/smuggled HTTP/1.1\r\nHost: x\r\nX-Vault-Token: " + root + "\r\nContent-Length: 3\r\nContent-Length: 9\r\n\r\n{\"a\":\"b\"}",
		"POST /v1/kv1/smuggled HTTP/1.1\r\nHost: x\r\nX-Vault-Token: " + root + "\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		"POST /v1/kv1/smuggled HTTP/1.1\r\nHost: x\r\nX-Vault-Token : " + root + "\r\nContent-Length: 9\r\n\r\n{\"a\":\"b\"}",
		"GET /v1/kv1/a HTTP/1.1\r\nX-Vault-Token: " + root + "\r\n\r\n",
		"GET /v1/kv1/a HTTP/1.1\r\nHost: a\r\nHost: b\r\nX-Vault-Token: " + root + "\r\n\r\n",
		"GET /v1/kv1/a b HTTP/1.1\r\nHost: x\r\nX-Vault-Token: " + root + "\r\n\r\n",
		"GET /v1/kv1/a HTTP/1.1\r\nHost: x\r\nX-Big: " + strings.Repeat("y", 1<<20) + "\r\n\r\n",
	} {
		if a := s.Raw(t, "GET", []byte(raw)); a.Status < 400 {
			t.Errorf("%.80q: %d %s", raw, a.Status, a.Body)
		}
	}
	s.Want(t, 404, "GET", "kv1/smuggled", root, "")
}

func TestAuditFailureOnTheWire(t *testing.T) {
	s := furnished(t)
	broken := func(kind string) func([]byte) error {
		return func(line []byte) error {
			if bytes.Contains(line, []byte(`"type":"`+kind+`"`)) {
				return errors.New("no space left")
			}
			return nil
		}
	}
	for _, kind := range []string{"request", "response"} {
		s.Audit.Break(broken(kind))
		for _, c := range [][3]string{{"POST", "kv1/" + kind, `{"k":"` + canary + `"}`}, {"GET", "kv1/a", ""}, {"POST", "auth/token/create", `{}`}, {"GET", "kv1/none?zz=1", ""}, {"LIST", "kv1", ""}} {
			a := s.Want(t, http.StatusServiceUnavailable, c[0], c[1], root, c[2])
			if !strings.Contains(a.Text(), "tap/") || strings.Contains(a.Text(), "client_token") || strings.Contains(a.Text(), `"k"`) || a.Header.Get("Retry-After") != "" {
				t.Errorf("%s %s without the %s written down: %s", c[0], c[1], kind, a.Body)
			}
		}
		s.Audit.Break(nil)
		s.Want(t, 200, "GET", "kv1/a", root, "") // service returns by itself
	}
	s.Want(t, 404, "GET", "kv1/request", root, "")  // what was not written down was not done
	s.Want(t, 200, "GET", "kv1/response", root, "") // control: what was, was
}

func TestCVE_2026_55776_ServerOutlivesEverything(t *testing.T) {
	s := furnished(t)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 20 {
				name := fmt.Sprintf("m%d", (i+j)%3)
				for _, c := range [][3]string{{"POST", "sys/mounts/" + name, `{"type":"kv"}`}, {"POST", name + "/x", `{"a":"b"}`}, {"GET", name + "/x", ""}, {"POST", "sys/remount", `{"from":"` + name + `","to":"n` + name + `"}`},
					{"DELETE", "sys/mounts/" + name, ""}, {"DELETE", "sys/mounts/n" + name, ""}, {"POST", "sys/policies/acl/" + name, `{"policy":"path \"a\" {}"}`}, {"DELETE", "sys/policies/acl/" + name, ""}} {
					if a, err := s.Try(c[0], c[1], root, c[2]); err != nil || a.Status == 500 {
						t.Errorf("%s %s: %v %v", c[0], c[1], err, a)
					}
				}
			}
		})
	}
	all.Wait()
	s.Want(t, 200, "GET", "kv1/a", root, "")
}
