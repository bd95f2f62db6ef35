package cli

import (
	"bytes"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/client"
)

// TestNodeThatIsAway asks a node that does not let a connection come about, and one that is not
// there beside another that is.
func TestNodeThatIsAway(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ask := func(env map[string]string) (int, string, string) {
		env["HOME"], env["STRONGROOM_TOKEN"] = t.TempDir(), "root"
		var out, errs bytes.Buffer
		code := Main([]string{"strongroom", "read", "kv/a"}, strings.NewReader(""), &out, &errs, func(k string) string { return env[k] })
		return code, out.String(), errs.String()
	}
	began := time.Now()
	code, _, errs := ask(map[string]string{"STRONGROOM_ADDR": "https://" + l.Addr().String()})
	if took := time.Since(began); took > patience+time.Second {
		t.Errorf("a node that is away is given up after %v", took)
	}
	if first, _, _ := strings.Cut(errs, "\n"); code != exitServer || first != "waiting: no connection to https://"+l.Addr().String()+" yet" || !strings.Contains(errs, "does not answer") {
		t.Errorf("a node that is away: %d %s", code, errs)
	}
	f := newFake(t, map[string]answer{"GET kv/a": data(`{"v":"x"}`)})
	code, out, errs := ask(map[string]string{"STRONGROOM_ADDR": "http://127.0.0.1:1," + f.URL})
	if code != 0 || !strings.Contains(out, "x") || errs != "" {
		t.Errorf("a node that is not there, beside another: %d %s %s", code, out, errs)
	}
}

// TestSealedIsToldAtOnce asks a sealed server: it is asked once, and nothing is waited for.
func TestSealedIsToldAtOnce(t *testing.T) {
	f := newFake(t, map[string]answer{"GET kv/a": refused(503, "Vault is sealed")})
	env := map[string]string{"HOME": t.TempDir(), "STRONGROOM_TOKEN": "root", "STRONGROOM_ADDR": f.URL}
	var out, errs bytes.Buffer
	code := Main([]string{"strongroom", "read", "kv/a"}, strings.NewReader(""), &out, &errs, func(k string) string { return env[k] })
	if code != exitServer || len(f.requests) != 1 || strings.Contains(errs.String(), "waiting") || !strings.Contains(errs.String(), "operator unseal") {
		t.Errorf("%d after %q: %s", code, f.requests, errs.String())
	}
}

// TestWaitingForWhat has each thing that is waited for told as what it is.
func TestWaitingForWhat(t *testing.T) {
	busy := &client.Error{Status: 503, Method: "GET", Path: "kv/a", Messages: []string{"this node cannot reach its store"}, RequestID: "r1"}
	for want, w := range map[string]client.Waiting{
		"no connection to http://a yet":                     {Address: "http://a"},
		"http://a has the request and has not answered yet": {Address: "http://a", Connected: true},
		"http://a is asked again in a moment; it answered before: GET kv/a: 503 Service Unavailable: this node cannot reach its store":               {Address: "http://a", Pause: true, Err: busy},
		"http://a has the request and has not answered yet; it answered before: GET kv/a: 503 Service Unavailable: this node cannot reach its store": {Address: "http://a", Connected: true, Err: busy},
	} {
		var errs bytes.Buffer
		newApp(nil, nil, nil, &errs, func(string) string { return "" }).waiting(w)
		if errs.String() != "waiting: "+want+"\n" {
			t.Errorf("%+v is told as %q", w, errs.String())
		}
	}
}

// TestStatusWithoutStore has a node tell what it knows while it cannot reach its store: nothing
// more is asked of it.
func TestStatusWithoutStore(t *testing.T) {
	f := newFake(t, map[string]answer{"GET sys/seal-status": {200, `{"type":"shamir","initialized":true,"sealed":false,"t":2,"n":3,"warning":"this node cannot reach its store"}`}})
	r := run(t, f, t.TempDir(), "status")
	if r.code != 0 || len(f.requests) != 1 || !strings.Contains(r.stdout, "\nWarning ") || !strings.Contains(r.stdout, "this node cannot reach its store") || strings.Contains(r.stdout, "HA Enabled") {
		t.Errorf("%d after %q: %s %s", r.code, f.requests, r.stdout, r.stderr)
	}
}
