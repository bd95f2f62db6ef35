package raw_test

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/server"
	"github.com/strongroom/strongroom/internal/server/servertest"
)

const root = servertest.Root

func on(c *server.Config) { c.RawStorage = true }

func expect(t *testing.T, s *servertest.Server, method, path, body string, status int, text string) *servertest.Answer {
	t.Helper()
	a := s.Do(t, method, path, root, body)
	if a.Status != status || !strings.Contains(a.Text(), text) {
		t.Errorf("%s %s %s: %d %s, want %d %q", method, path, body, a.Status, a.Text(), status, text)
	}
	return a
}

func TestRowsAreReadAndWritten(t *testing.T) {
	s := servertest.Start(t, on)
	expect(t, s, "POST", "sys/raw/root/x/y", `{"value":"hello"}`, 204, "")
	expect(t, s, "GET", "sys/raw/root/x/y", "", 200, `"data":{"value":"hello"}`)
	expect(t, s, "GET", "sys/raw?path=root/x/y", "", 200, `"data":{"value":"hello"}`)
	expect(t, s, "POST", "sys/raw", `{"path":"root/x/z","value":"`+base64.StdEncoding.EncodeToString([]byte{0xff, 0})+`","encoding":"base64"}`, 204, "")
	expect(t, s, "GET", "sys/raw/root/x/z", "", 400, "encoding=base64")
	expect(t, s, "GET", "sys/raw/root/x/z?encoding=base64", "", 200, `"value":"/wA="`)
	expect(t, s, "LIST", "sys/raw/root/x", "", 200, `"keys":["y","z"]`)
	expect(t, s, "LIST", "sys/raw/root/x?after=y", "", 200, `"keys":["z"]`)
	expect(t, s, "LIST", "sys/raw/root/x/?limit=1", "", 200, `"keys":["y"]`)
	expect(t, s, "LIST", "sys/raw/root", "", 200, `"x/"`)
	expect(t, s, "LIST", "sys/raw", "", 200, `"keys":["root/"]`)
	expect(t, s, "DELETE", "sys/raw/root/x/y", "", 204, "")
	expect(t, s, "DELETE", "sys/raw?path=root/x/z", "", 204, "")
	expect(t, s, "GET", "sys/raw/root/x/y", "", 404, `"errors":[]`)
	expect(t, s, "LIST", "sys/raw/root/x", "", 404, `"errors":[]`)
}

func TestARepairIsSeenAtOnce(t *testing.T) {
	s := servertest.Start(t, on)
	expect(t, s, "POST", "sys/policies/acl/p", `{"policy":"path \"a\" { capabilities = [\"read\"] }"}`, 204, "")
	expect(t, s, "GET", "sys/raw/root/policy/acl/p", "", 200, "capabilities")
	expect(t, s, "DELETE", "sys/raw/root/policy/acl/p", "", 204, "")
	expect(t, s, "GET", "sys/policies/acl/p", "", 404, "")
}

func TestRefusals(t *testing.T) {
	s := servertest.Start(t, on)
	for _, key := range []string{"core/keyring", "core/cluster", "core/ns/root", "d/root/x"} {
		for _, method := range []string{"GET", "POST", "DELETE", "LIST"} {
			expect(t, s, method, "sys/raw/"+key, `{"value":"x"}`, 400, "cannot be accessed")
		}
	}
	expect(t, s, "GET", "sys/raw/nobody/x", "", 404, "id of a namespace")
	expect(t, s, "POST", "sys/raw/nobody/x", `{"value":"x"}`, 404, "id of a namespace")
	expect(t, s, "GET", "sys/raw", "", 404, `"errors":[]`)
	expect(t, s, "GET", "sys/raw/root", "", 404, `"errors":[]`)
	expect(t, s, "POST", "sys/raw/root/x", `{"value":"x","encoding":"hex"}`, 400, "encoding")
	expect(t, s, "POST", "sys/raw/root/x", `{"value":"?","encoding":"base64"}`, 400, "not base64")
	expect(t, s, "POST", "sys/raw/root/x", `{"value":"x","compression_type":"gzip"}`, 400, "not compressed")
	expect(t, s, "GET", "sys/raw/root/x?encoding=hex", "", 400, "encoding")
}

func TestOffUnlessConfigured(t *testing.T) {
	s := servertest.Start(t)
	for _, method := range []string{"GET", "POST", "DELETE", "LIST"} {
		for _, path := range []string{"sys/raw", "sys/raw/root/x", "sys/raw/core/keyring"} {
			expect(t, s, method, path, `{"path":"root/x","value":"x"}`, 400, "raw_storage_endpoint = true")
		}
	}
}

func TestNeedsSudo(t *testing.T) {
	s := servertest.Start(t, on)
	expect(t, s, "POST", "sys/policies/acl/all", `{"policy":"path \"sys/raw*\" { capabilities = [\"create\", \"read\", \"update\", \"delete\", \"list\"] }"}`, 204, "")
	weak := expect(t, s, "POST", "auth/token/create", `{"policies":["all"]}`, 200, "").String("auth", "client_token")
	for _, method := range []string{"GET", "POST", "DELETE", "LIST"} {
		if a := s.Do(t, method, "sys/raw/root/x", weak, `{"value":"x"}`); a.Status != http.StatusForbidden {
			t.Errorf("%s without sudo: %d", method, a.Status)
		}
	}
}
