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
