package cli

import (
	"bytes"
	"net"
	"strings"
	"testing"
	"time"
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
