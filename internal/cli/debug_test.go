package cli

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// debugServer answers all that debug asks for, except in-flight requests. The log
// goes on until it is hung up.
func debugServer(t *testing.T) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := strings.TrimPrefix(r.URL.Path, "/v1/")
		switch {
		case path == "sys/seal-status":
			io.WriteString(w, `{"sealed":false,"version":"1.2.3"}`)
		case path == "sys/monitor":
			io.WriteString(w, "a line of the log\n")
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		case strings.HasPrefix(path, "sys/pprof/"):
			io.WriteString(w, path+"?"+r.URL.RawQuery)
		case path == "sys/in-flight-req":
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, `{"errors":["permission denied"]}`)
		default:
			io.WriteString(w, `{"request_id":"r","data":{"path":"`+path+`"}}`)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// unpack reads a tar.gz into a map.
func unpack(t *testing.T, name string) map[string]string {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	zip, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for r := tar.NewReader(zip); ; {
		head, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		out[head.Name] = string(raw)
	}
}

func TestDebugTakesOneLook(t *testing.T) {
	s, home := debugServer(t), t.TempDir()
	env := map[string]string{"HOME": home, "STRONGROOM_ADDR": s.URL, "STRONGROOM_TOKEN": "hvs.topsecret"}
	at := filepath.Join(home, "case")
	r := runAs("strongroom", env, "debug", "-duration=0", "-output="+at)
	if r.code != 0 || !strings.Contains(r.stderr, "warning: sys/in-flight-req: ") || !strings.Contains(r.stdout, at+".tar.gz") {
		t.Fatalf("%d %s %s", r.code, r.stdout, r.stderr)
	}
	files := unpack(t, at+".tar.gz")
	var index struct {
		Files   []string       `json:"files"`
		Errors  []debugFailure `json:"errors"`
		Version string         `json:"server_version"`
	}
	if err := json.Unmarshal([]byte(files["case/index.json"]), &index); err != nil {
		t.Fatal(err)
	}
	if len(index.Errors) != 1 || index.Version != "1.2.3" || len(index.Files) != len(files)-1 {
		t.Errorf("index = %+v of %d files", index, len(files))
	}
	for _, name := range []string{"config", "host_info", "metrics", "server_status", "server_health"} {
		if !strings.Contains(files["case/"+name+".json"], `"value"`) {
			t.Errorf("%s: %q", name, files["case/"+name+".json"])
		}
	}
	for name, text := range files {
		if strings.Contains(text, "topsecret") {
			t.Errorf("the token is in %s", name)
		}
	}
	if heap := slices.IndexFunc(sortedKeys(files), func(n string) bool { return strings.HasSuffix(n, "/heap.prof") }); heap < 0 {
		t.Errorf("no heap profile among %v", sortedKeys(files))
	}
	if r := runAs("strongroom", env, "debug", "-duration=0", "-output="+at); r.code != 1 || !strings.Contains(r.stderr, "is there already") {
		t.Errorf("a second time: %d %s", r.code, r.stderr)
	}
}

func TestDebugGoesOnAndKeepsTheLog(t *testing.T) {
	s, home := debugServer(t), t.TempDir()
	env := map[string]string{"HOME": home, "STRONGROOM_ADDR": s.URL}
	at := filepath.Join(home, "case")
	r := runAs("strongroom", env, "debug", "-duration=2500ms", "-interval=2s", "-metrics-interval=2s", "-compress=false", "-output="+at)
	if r.code != 0 {
		t.Fatalf("%d %s", r.code, r.stderr)
	}
	if log, err := os.ReadFile(filepath.Join(at, "server.log")); err != nil || string(log) != "a line of the log\n" {
		t.Errorf("log %q %v", log, err)
	}
	raw, err := os.ReadFile(filepath.Join(at, "metrics.json"))
	var looks []sample
	if err = errors.Join(err, json.Unmarshal(raw, &looks)); err != nil || len(looks) != 2 {
		t.Errorf("%d looks at metrics: %v", len(looks), err)
	}
	if found, err := filepath.Glob(filepath.Join(at, "*", "profile.prof")); err != nil || len(found) == 0 {
		t.Errorf("no CPU profile: %v", err)
	}
}

func TestDebugNeedsAServer(t *testing.T) {
	at := filepath.Join(t.TempDir(), "case")
	env := map[string]string{"STRONGROOM_ADDR": "http://127.0.0.1:1", "STRONGROOM_MAX_RETRIES": "0"}
	if r := runAs("strongroom", env, "debug", "-output="+at); r.code != 2 || !strings.Contains(r.stderr, "no server listens") {
		t.Errorf("%d %s", r.code, r.stderr)
	}
	if _, err := os.Stat(at + ".tar.gz"); err == nil {
		t.Error("an archive of nothing was written")
	}
	for _, args := range [][]string{{"-target=foo"}, {"-duration=-1s"}, {"-interval=10ms"}} {
		if r := runAs("strongroom", env, append([]string{"debug"}, args...)...); r.code != 1 || !strings.Contains(r.stderr, "want") {
			t.Errorf("%v: %d %s", args, r.code, r.stderr)
		}
	}
}

// TestMonitorEnds pins that the end of the context ends the command, as an interrupt
// does, and without an error.
func TestMonitorEnds(t *testing.T) {
	s := debugServer(t)
	ctx, cancel := context.WithCancel(t.Context())
	out := &endsAt{what: "a line of the log\n", then: cancel}
	var errs strings.Builder
	code := Run(ctx, []string{"strongroom", "monitor"}, strings.NewReader(""), out, &errs, func(k string) string {
		return map[string]string{"STRONGROOM_ADDR": s.URL}[k]
	})
	if code != 0 || errs.Len() > 0 || out.got.String() != out.what {
		t.Errorf("%d %q %q", code, out.got.String(), errs.String())
	}
}

// endsAt calls then once it has got what it waits for.
type endsAt struct {
	got  strings.Builder
	what string
	then func()
}

// Write implements io.Writer.
func (e *endsAt) Write(p []byte) (int, error) {
	n, err := e.got.Write(p)
	if e.got.String() == e.what {
		e.then()
	}
	return n, err
}
