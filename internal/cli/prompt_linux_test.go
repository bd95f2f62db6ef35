package cli

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// pty is a pseudo-terminal: what is written to keys is typed, and shown is what the screen shows.
func pty(t *testing.T) (keys, tty *os.File) {
	t.Helper()
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { keys.Close() })
	n, err := unix.IoctlGetInt(int(keys.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(keys.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	if tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	return keys, tty
}

// echoes reports whether a terminal shows what is typed.
func echoes(t *testing.T, tty *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// quick answers a prompt before its last byte is on the screen.
type quick struct {
	once sync.Once
	tty  *os.File
	says func()
}

// Write implements io.Writer.
func (q *quick) Write(b []byte) (int, error) {
	q.once.Do(q.says)
	return q.tty.Write(b)
}

// TestHiddenAnswerIsNotShown answers as soon as it is asked: nothing of the answer is shown,
// and the terminal shows again afterwards what is typed.
func TestHiddenAnswerIsNotShown(t *testing.T) {
	const secret = "correct-horse"
	for _, line := range []string{"operator unseal", "login", "login -method=userpass username=ann"} {
		f := newFake(t, map[string]answer{
			"PUT sys/unseal":                {200, `{"type":"shamir","initialized":true,"sealed":true,"t":2,"n":3,"progress":1}`},
			"GET auth/token/lookup-self":    data(`{"id":"t","policies":["default"]}`),
			"PUT auth/userpass/login/ann":   {200, `{"auth":{"client_token":"t","policies":["default"]}}`},
			"GET sys/leader":                {200, `{"ha_enabled":false}`},
			"GET sys/internal/ui/mounts":    data(`{}`),
			"GET sys/internal/ui/mounts/kv": data(`{}`),
		})
		keys, tty := pty(t)
		screen := make(chan string, 1)
		go func() {
			shown, _ := io.ReadAll(keys) // ends in an error once the terminal is closed
			screen <- string(shown)
		}()
		errs := &quick{tty: tty, says: func() {
			if echoes(t, tty) {
				t.Errorf("%s: asks while what is typed is shown", line)
			}
			if _, err := keys.WriteString(secret + "\n"); err != nil {
				t.Error(err)
			}
		}}
		env := map[string]string{"HOME": t.TempDir(), "STRONGROOM_ADDR": f.URL}
		var out bytes.Buffer
		code := Main(append([]string{"strongroom"}, strings.Fields(line)...), tty, &out, errs, func(k string) string { return env[k] })
		if !echoes(t, tty) {
			t.Errorf("%s: leaves the terminal without echo", line)
		}
		if err := tty.Close(); err != nil {
			t.Fatal(err)
		}
		if shown := <-screen; strings.Contains(shown, secret) || !strings.Contains(shown, "will be hidden") {
			t.Errorf("%s: the screen shows %q", line, shown)
		}
		if sent := strings.Join(f.requests, "\n"); code != 0 || !strings.Contains(sent, secret) && line != "login" {
			t.Errorf("%s: %d, sent %s", line, code, sent)
		}
	}
}

// answering types the next of its answers at each prompt.
type answering struct {
	keys    *os.File
	answers []string
	asked   []string
}

// Write implements io.Writer.
func (a *answering) Write(b []byte) (int, error) {
	if text := string(b); strings.HasSuffix(text, ": ") {
		a.asked = append(a.asked, text)
		if len(a.answers) > 0 {
			if _, err := a.keys.WriteString(a.answers[0] + "\n"); err != nil {
				return 0, err
			}
			a.answers = a.answers[1:]
		}
	}
	return len(b), nil
}

// TestDeletionIsAgreedTo: at a terminal a namespace goes once its name is typed; who says -yes, and vault's scripts, are not asked.
func TestDeletionIsAgreedTo(t *testing.T) {
	for _, tc := range []struct {
		line, answer string
		asked        int
		sent         string
		code         int
	}{
		{"strongroom namespace delete team", "team", 1, "DELETE sys/namespaces/team", exitOK},
		{"strongroom namespace delete team/", "team/", 1, "DELETE sys/namespaces/team", exitOK},
		{"strongroom namespace delete team", "yes", 1, "", exitLocal},
		{"strongroom namespace delete team", "", 1, "", exitLocal},
		{"strongroom namespace delete -yes team", "", 0, "DELETE sys/namespaces/team", exitOK},
		{"strongroom namespace delete -non-interactive team", "", 0, "DELETE sys/namespaces/team", exitOK},
		{"strongroom namespace delete -output-curl-string team", "", 0, "", exitOK},
		{"vault namespace delete team", "", 0, "DELETE sys/namespaces/team", exitOK},
		{"strongroom namespace delete-sealed team", "other", 1, "", exitLocal},
		{"strongroom namespace delete-sealed team", "team", 1, "DELETE sys/namespaces/team/delete-sealed", exitOK},
		{"strongroom namespace delete-sealed -yes team", "", 0, "DELETE sys/namespaces/team/delete-sealed", exitOK},
	} {
		f := newFake(t, map[string]answer{"DELETE sys/namespaces/team": {204, ""}, "DELETE sys/namespaces/team/delete-sealed": {204, ""}})
		keys, tty := pty(t)
		env := map[string]string{"HOME": t.TempDir(), "STRONGROOM_ADDR": f.URL, "STRONGROOM_TOKEN": "t"}
		errs := &answering{keys: keys, answers: []string{tc.answer}}
		code := Main(strings.Fields(tc.line), tty, io.Discard, errs, func(k string) string { return env[k] })
		if sent := strings.Join(f.requests, "\n"); code != tc.code || len(errs.asked) != tc.asked || sent != tc.sent {
			t.Errorf("%s, answered %q: exit code %d, asked %q, sent %q", tc.line, tc.answer, code, errs.asked, sent)
		}
		if err := tty.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestTypedDataIsAnnounced: a person whose terminal is read is told so, once; for vault's scripts nothing is said.
func TestTypedDataIsAnnounced(t *testing.T) {
	for program, want := range map[string]int{"strongroom": 1, "vault": 0} {
		f := newFake(t, map[string]answer{"PUT a": {204, ""}})
		keys, tty := pty(t)
		if _, err := keys.WriteString("one\ntwo\n\x04"); err != nil {
			t.Fatal(err)
		}
		env := map[string]string{"HOME": t.TempDir(), "STRONGROOM_ADDR": f.URL, "STRONGROOM_TOKEN": "t"}
		var errs bytes.Buffer
		code := Main([]string{program, "write", "a", "x=-", "y=z"}, tty, io.Discard, &errs, func(k string) string { return env[k] })
		sent := strings.Join(f.requests, "\n")
		if code != exitOK || sent != `PUT a {"x":"one\ntwo\n","y":"z"}` || strings.Count(errs.String(), "Ctrl-D") != want {
			t.Errorf("%s: exit code %d, sent %s: %s", program, code, sent, errs.String())
		}
		if err := tty.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestPeopleAreAskedForFields: at a terminal, what a login cannot do without is asked for; for vault's scripts it is not.
func TestPeopleAreAskedForFields(t *testing.T) {
	entry := answer{200, `{"auth":{"client_token":"t","policies":["default"]}}`}
	for _, tc := range []struct {
		program, line string
		answers       []string
		want          string
	}{
		{"strongroom", "login -method=approle", []string{"ci", "s3"}, `PUT auth/approle/login {"role_id":"ci","secret_id":"s3"}`},
		{"strongroom", "login -method=approle role_id=ci", []string{""}, `PUT auth/approle/login {"role_id":"ci"}`},
		{"strongroom", "login -method=jwt role=r", []string{"e.y.J"}, `PUT auth/jwt/login {"jwt":"e.y.J","role":"r"}`},
		{"strongroom", "login -method=userpass", []string{"ann", "pw"}, `PUT auth/userpass/login/ann {"password":"pw"}`},
		{"strongroom", "login -method=userpass", []string{"", "pw"}, `PUT auth/userpass/login/bob {"password":"pw"}`},
		{"vault", "login -method=userpass", []string{"pw"}, `PUT auth/userpass/login/bob {"password":"pw"}`},
		{"vault", "login -method=approle", nil, `PUT auth/approle/login {}`},
	} {
		f := newFake(t, map[string]answer{"PUT auth/userpass/login/ann": entry, "PUT auth/userpass/login/bob": entry, "PUT auth/approle/login": entry, "PUT auth/jwt/login": entry})
		keys, tty := pty(t)
		go io.Copy(io.Discard, keys) //nolint:errcheck // ends in an error once the terminal is closed
		env := map[string]string{"HOME": t.TempDir(), "STRONGROOM_ADDR": f.URL, "USER": "bob"}
		var out bytes.Buffer
		errs := &answering{keys: keys, answers: tc.answers}
		code := Main(append([]string{tc.program}, strings.Fields(tc.line)...), tty, &out, errs, func(k string) string { return env[k] })
		if sent := strings.Join(f.requests, "\n"); code != exitOK || !strings.HasPrefix(sent, tc.want) || len(errs.answers) > 0 {
			t.Errorf("%s %s: exit code %d, asked %q, sent %s", tc.program, tc.line, code, errs.asked, sent)
		}
		for _, asked := range errs.asked {
			if name := strings.HasPrefix(asked, "role") || strings.HasPrefix(asked, "username"); name == strings.Contains(asked, "hidden") {
				t.Errorf("%s: %q", tc.line, asked)
			}
		}
		if err := tty.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestMistypedPasscodeIsAskedForAgain: a person has three tries at one login, and a script that stands at vault's has one.
func TestMistypedPasscodeIsAskedForAgain(t *testing.T) {
	for _, tc := range []struct {
		program string
		answers []string
		code    int
		want    string
	}{
		{"strongroom", []string{"111111", "222222"}, exitOK, "Try again"},
		{"strongroom", []string{"111111", "333333", "444444"}, exitServer, "log in again"},
		{"vault", []string{"111111"}, exitServer, "log in again"},
	} {
		var shown []string
		mux := http.NewServeMux()
		mux.HandleFunc("PUT /v1/auth/userpass/login/ann", func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, `{"auth":{"mfa_requirement":{"mfa_request_id":"r","mfa_constraints":{"all":{"any":[{"type":"totp","id":"m","uses_passcode":true,"name":"app"}]}}}}}`)
		})
		mux.HandleFunc("PUT /v1/sys/mfa/validate", func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			if shown = append(shown, string(body)); strings.Contains(string(body), "222222") {
				io.WriteString(w, `{"auth":{"client_token":"t","policies":["default"]}}`)
				return
			}
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, `{"errors":["permission denied"]}`)
		})
		f := httptest.NewServer(mux)
		keys, tty := pty(t)
		go io.Copy(io.Discard, keys) //nolint:errcheck // ends in an error once the terminal is closed
		env := map[string]string{"HOME": t.TempDir(), "STRONGROOM_ADDR": f.URL, "VAULT_ADDR": f.URL}
		var out, errs bytes.Buffer
		asks := &answering{keys: keys, answers: tc.answers}
		code := Main([]string{tc.program, "login", "-method=userpass", "username=ann", "password=pw"}, tty, &out, io.MultiWriter(&errs, asks), func(k string) string { return env[k] })
		f.Close()
		if code != tc.code || len(shown) != len(tc.answers) || len(asks.asked) != len(tc.answers) || !strings.Contains(errs.String(), tc.want) {
			t.Errorf("%s, %v: exit code %d, asked %q, sent %q: %s", tc.program, tc.answers, code, asks.asked, shown, errs.String())
		}
		if err := tty.Close(); err != nil {
			t.Error(err)
		}
	}
}
