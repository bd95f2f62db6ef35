package cli

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/snapshot/framed"
)

// aSnapshot is one of many rows.
func aSnapshot(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := framed.NewWriter(&b, framed.Header{Format: 1})
	for i := 0; err == nil && i < 2000; i++ {
		err = w.Row(fmt.Sprintf("k%06d", i), bytes.Repeat([]byte("v"), 200))
	}
	if err == nil {
		err = w.Close(func([]byte) ([]byte, error) { return make([]byte, framed.MACBytes), nil })
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestASnapshotThatIsCutOffLeavesNothing has a server break off at many places, in the way
// of a server that dies and of one that ends the answer as if it were whole: the command
// fails and leaves no file, not even a part under another name. A file that was there stays
// as it was. The control sends all.
func TestASnapshotThatIsCutOffLeavesNothing(t *testing.T) {
	whole := aSnapshot(t)
	for _, command := range []string{"operator snapshot save -force", "operator raft snapshot save"} {
		for _, sent := range []int{0, 1, 21, 22, 500, len(whole) / 2, len(whole) - 1, len(whole)} {
			for _, dies := range []bool{true, false} {
				code, name, dir := savedFrom(t, command, func(w http.ResponseWriter) {
					if _, err := w.Write(whole[:sent]); err != nil {
						t.Error(err)
					}
					if dies {
						if err := http.NewResponseController(w).Flush(); err != nil {
							t.Error(err)
						}
						panic(http.ErrAbortHandler)
					}
				})
				kept, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				if sent == len(whole) && !dies {
					if code != 0 || !bytes.Equal(kept, whole) {
						t.Errorf("%s: the control: exit code %d, %d bytes", command, code, len(kept))
					}
				} else if code == 0 || string(kept) != "before" {
					t.Errorf("%s: %d bytes came, the server dies %v: exit code %d, %d bytes", command, sent, dies, code, len(kept))
				}
				if names, err := os.ReadDir(dir); err != nil || len(names) != 1 {
					t.Errorf("%s: %d bytes came: files are left: %v, %v", command, sent, names, err)
				}
			}
		}
	}
}

// savedFrom saves what a server sends over a file that holds "before".
func savedFrom(t *testing.T, command string, send func(http.ResponseWriter)) (code int, name, dir string) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		send(w)
	}))
	defer srv.Close()
	dir = t.TempDir()
	name = filepath.Join(dir, "s.snap")
	if err := os.WriteFile(name, []byte("before"), 0o600); err != nil {
		t.Fatal(err)
	}
	getenv := func(k string) string {
		return map[string]string{"STRONGROOM_ADDR": srv.URL, "STRONGROOM_TOKEN": "t", "VAULT_MAX_RETRIES": "0"}[k]
	}
	var out, errs bytes.Buffer
	args := append(append([]string{"strongroom"}, strings.Fields(command)...), name)
	code = Main(args, nil, &out, &errs, getenv)
	if code != 0 && errs.Len() == 0 {
		t.Error("a failure without a word")
	}
	return code, name, dir
}

// TestSnapshotForPrograms sends a snapshot to standard output, and has what verify and restore
// find told to programs. A dry run sends nothing.
func TestSnapshotForPrograms(t *testing.T) {
	whole := aSnapshot(t)
	f := newFake(t, map[string]answer{
		"GET sys/snapshot": {200, string(whole)}, "GET sys/init": {200, `{"initialized":false}`},
		"POST sys/storage/raft/snapshot": {204, ""}, "POST sys/storage/raft/snapshot?source_is_gone=true": {204, ""},
	})
	t.Chdir(t.TempDir())
	if r := run(t, f, t.TempDir(), "operator snapshot save -"); r.code != 0 || r.stdout != string(whole) || r.stderr != "" {
		t.Errorf("to standard output: %d, %d bytes of %d, %s", r.code, len(r.stdout), len(whole), r.stderr)
	}
	if left, err := os.ReadDir("."); err != nil || len(left) != 0 {
		t.Errorf("files are left: %v, %v", left, err)
	}
	f.answers["GET sys/snapshot"] = answer{200, string(whole[:len(whole)-1])}
	if r := run(t, f, t.TempDir(), "operator snapshot save -"); r.code == 0 {
		t.Error("a snapshot that is cut short went to standard output as if it were whole")
	}
	if err := os.WriteFile("s.snap", whole, 0o600); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"operator snapshot verify -format=json s.snap":                       `"whole": true`,
		"operator snapshot verify s.snap":                                    "Success! s.snap is whole.",
		"operator raft snapshot restore -dry-run s.snap":                     "Would put 2000 rows",
		"operator raft snapshot restore -dry-run -format=json s.snap":        `"would_restore"`,
		"operator raft snapshot restore -format=json s.snap":                 `"leases_held": true`,
		"operator raft snapshot restore -source-is-gone -format=json s.snap": `"leases_held": false`,
		"operator raft snapshot restore -source-is-gone -field=rows s.snap":  "2000",
		"operator raft snapshot restore s.snap":                              "The snapshot was restored",
	} {
		f.requests = nil
		r := run(t, f, t.TempDir(), line)
		if r.code != 0 || !strings.Contains(r.stdout, want) {
			t.Errorf("%s: %d %s %s", line, r.code, r.stdout, r.stderr)
		}
		if sent := strings.Contains(strings.Join(f.requests, " "), "POST"); sent != (strings.Contains(line, "restore") && !strings.Contains(line, "dry-run")) {
			t.Errorf("%s: sent %d requests", line, len(f.requests))
		}
	}
	f.answers["GET sys/init"] = answer{200, `{"initialized":true}`}
	if r := run(t, f, t.TempDir(), "operator raft snapshot restore -dry-run s.snap"); r.code != exitServer || !strings.Contains(r.stderr, "has been initialised") {
		t.Errorf("into a server that was initialised: %d %s", r.code, r.stderr)
	}
}

// TestResumeSaysOnlyWhatItWasTold: an answer that does not say whether leases are held is none.
func TestResumeSaysOnlyWhatItWasTold(t *testing.T) {
	for answer, want := range map[string]int{"": exitServer, "null": exitServer, `{"wrap_info":{"token":"x"}}`: exitServer, `{"data":{"held":false}}`: 0, `{"data":{"held":true}}`: 0} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if answer == "" {
				w.WriteHeader(http.StatusNoContent)
			} else if _, err := w.Write([]byte(answer)); err != nil {
				t.Error(err)
			}
		}))
		getenv := func(k string) string {
			return map[string]string{"STRONGROOM_ADDR": srv.URL, "STRONGROOM_TOKEN": "t", "VAULT_MAX_RETRIES": "0"}[k]
		}
		for _, command := range []string{"resume", "resume -status"} {
			var out, errs bytes.Buffer
			code := Main(append([]string{"strongroom", "operator", "snapshot"}, strings.Fields(command)...), nil, &out, &errs, getenv)
			if code != want {
				t.Errorf("%s, answered %q: exit code %d, want %d; %s%s", command, answer, code, want, &out, &errs)
			}
		}
		srv.Close()
	}
}
