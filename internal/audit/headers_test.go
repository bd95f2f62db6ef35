package audit

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store/mem"
)

// entry is the line that a node's audit file gets for a request with headers.
func (n *node) entry(t *testing.T, file string, h http.Header) string {
	t.Helper()
	must(t, os.Truncate(file, 0))
	e := n.broker.Entry()
	defer e.Release()
	e.Request = Request{ID: "id", Operation: "read", Path: "x", Headers: h}
	must(t, n.broker.LogRequest(t.Context(), moment, e, nil))
	line, err := os.ReadFile(file)
	must(t, err)
	return string(line)
}

func TestShownHeadersAreFollowedByEveryNode(t *testing.T) {
	dir, s := t.TempDir(), mem.Open()
	file := filepath.Join(dir, "a.log")
	one, two := newNode(t, s, dir), newNode(t, s, dir)
	for _, c := range []struct{ path, body string }{
		{"audit/a", enableBody(file)},
		{"config/auditing/request-headers/X-Plain", ``},
		{"config/auditing/request-headers/x-HASHED", `{"hmac":true}`},
		{"config/auditing/request-headers/X-Vault-Token", `{"hmac":false}`},
	} {
		_, err := one.call(api.Write, c.path, c.body)
		must(t, err)
	}
	must(t, two.Reload(t.Context()))
	h := http.Header{"X-Plain": {"seen"}, "X-Hashed": {"unseen"}, "X-Vault-Token": {"secret"}, "X-Other": {"other"}, "X-Shown": {"configured"}}
	for i, n := range []*node{one, two} {
		line := n.entry(t, file, h)
		for part, want := range map[string]bool{`"x-plain":["seen"]`: true, `"x-hashed":["hmac-sha256:`: true, `"x-vault-token":["hmac-sha256:`: true,
			`"x-shown":["configured"]`: true, "unseen": false, "secret": false, "other": false} {
			if strings.Contains(line, part) != want {
				t.Errorf("node %d: %q is there: %v, in %s", i, part, !want, line)
			}
		}
	}
	_, err := one.call(api.Delete, "config/auditing/request-headers/X-PLAIN", "")
	must(t, err)
	if line := one.entry(t, file, h); strings.Contains(line, "x-plain") {
		t.Errorf("it is shown still: %s", line)
	}
}

func TestShownHeadersAreRead(t *testing.T) {
	n := newNode(t, mem.Open(), t.TempDir())
	for name, body := range map[string]string{"X-Foo": `{"hmac":true}`, "Authorization": `{}`} {
		_, err := n.call(api.Write, "config/auditing/request-headers/"+name, body)
		must(t, err)
	}
	all, err := n.call(api.Read, "config/auditing/request-headers", "")
	must(t, err)
	want := map[string]ShownHeader{"x-foo": {true}, "authorization": {true}, "x-shown": {false}}
	if got := all.(*ShownHeaders).Headers; !reflect.DeepEqual(got, want) {
		t.Errorf("all are %v, want %v", got, want)
	}
	one, err := n.call(api.Read, "config/auditing/request-headers/x-foo", "")
	must(t, err)
	if got := *one.(*map[string]ShownHeader); !reflect.DeepEqual(got, map[string]ShownHeader{"X-Foo": {true}}) {
		t.Errorf("one is %v", got)
	}
	if _, err := n.call(api.Read, "config/auditing/request-headers/x-none", ""); api.KindOf(err) != api.Invalid || err.Error() != "Could not find header in config" {
		t.Errorf("none: %v", err)
	}
	if _, err := n.call(api.Delete, "config/auditing/request-headers/x-none", ""); err != nil {
		t.Errorf("deleting none: %v", err)
	}
}

func TestShownHeadersAreBounded(t *testing.T) {
	n := newNode(t, mem.Open(), t.TempDir())
	for _, bad := range []string{"a b", "a:", "é", strings.Repeat("a", 129)} {
		if _, err := n.call(api.Write, "config/auditing/request-headers/"+bad, ""); api.KindOf(err) != api.Invalid {
			t.Errorf("%.10q: %v", bad, err)
		}
	}
	for i := range maxHeaders - 1 { // one is configured
		_, err := n.call(api.Write, fmt.Sprintf("config/auditing/request-headers/x-%d", i), "")
		must(t, err)
	}
	if _, err := n.call(api.Write, "config/auditing/request-headers/x-more", ""); api.KindOf(err) != api.Invalid {
		t.Errorf("one too many: %v", err)
	}
	if _, err := n.call(api.Write, "config/auditing/request-headers/x-0", `{"hmac":true}`); err != nil {
		t.Errorf("changing one: %v", err)
	}
}
