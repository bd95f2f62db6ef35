// Package passkey has a browser that others have written make and show passkeys at the page of the real binary, and sign in
// to an application at its OpenID provider: Chromium, driven over its DevTools protocol, with the authenticator that it has for tests.
package passkey

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/webauthn"
	"github.com/chromedp/chromedp"

	"github.com/strongroom/strongroom/test/process"
)

// bin is the binary under test.
var bin string

func TestMain(m *testing.M) {
	process.Main(func(dir string) (int, error) {
		var err error
		if bin, err = process.Build(dir); err != nil {
			return 1, err
		}
		return m.Run(), nil
	})
}

// patience bounds what a browser may take.
const patience = time.Minute

// Of the page.
const (
	button = chromedp.ID("go")
	said   = chromedp.ID("text")
	body   = chromedp.CSS("body")
)

// stand is a server where ann needs a passkey to log in.
type stand struct {
	t                    *testing.T
	url, origin          string
	method, entity, home string
}

func newStand(t *testing.T) *stand {
	t.Helper()
	s := newServer(t)
	s.method = strings.TrimSpace(s.run("root", "write", "-field=method_id", "identity/mfa/method/webauthn", "relying_party_id=localhost", "origins="+s.origin))
	s.run("root", "write", "identity/mfa/login-enforcement/people", "mfa_method_ids="+s.method, "auth_method_types=userpass")
	return s
}

// newServer is a server where ann has a password.
func newServer(t *testing.T) *stand {
	t.Helper()
	server, err := process.Dev(bin, "root")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Kill(); err != nil {
			t.Error(err)
		}
	})
	s := &stand{t: t, url: server.URL, origin: strings.Replace(server.URL, "127.0.0.1", "localhost", 1), home: t.TempDir()}
	s.run("root", "auth", "enable", "userpass")
	s.run("root", "write", "auth/userpass/users/ann", "password=hunter2")
	s.entity = regexp.MustCompile(`"entity_id": ?"([^"]+)"`).FindStringSubmatch(s.run("root", "write", "-format=json", "auth/userpass/login/ann", "password=hunter2"))[1]
	return s
}

// program is the command line, with a token.
func (s *stand) program(token string, args ...string) *exec.Cmd {
	cmd := exec.Command(bin, args...)
	cmd.Env = append(os.Environ(), "HOME="+s.home, "BROWSER=true", "STRONGROOM_ADDR="+s.url, "STRONGROOM_TOKEN="+token)
	return cmd
}

func (s *stand) run(token string, args ...string) string {
	s.t.Helper()
	out, err := s.program(token, args...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("%v: %v: %s", args, err, out)
	}
	return string(out)
}

// lines are what a program has said so far.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
	at   chan string // the address that it has shown
}

var address = regexp.MustCompile(`http://127\.0\.0\.1:\d+/\w+\n`)

// Write implements io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := address.Match(l.text.Bytes())
	l.text.Write(p)
	if found := address.Find(l.text.Bytes()); found != nil && !before {
		l.at <- strings.TrimSpace(string(found))
	}
	return len(p), nil
}

// inBrowser runs a program that shows an address, and goes on there in a browser until the program has ended.
func (s *stand) inBrowser(tab context.Context, args ...string) string {
	s.t.Helper()
	cmd, shown := s.program("", args...), &lines{at: make(chan string, 1)}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, shown
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case at := <-shown.at:
		tab, cancel := context.WithTimeout(tab, patience)
		defer cancel()
		if err := chromedp.Do(tab, chromedp.Navigate(at), chromedp.Click(button), chromedp.WaitNotPresent(button)); err != nil {
			text, _ := chromedp.Run(tab, chromedp.Text(body)) //nolint:errcheck // for the message alone
			s.t.Fatalf("%v: %v: the page says %q", args, err, text)
		}
		last, err := chromedp.Run(tab, chromedp.Text(body))
		if err != nil {
			s.t.Fatal(err)
		}
		if !strings.Contains(last, "go back to the program") {
			s.t.Errorf("the program tells the browser %q", last)
		}
	case err := <-ended:
		s.t.Fatalf("%v: %v: %s %s", args, err, out.String(), shown.text.String())
	}
	select {
	case err := <-ended:
		if err != nil {
			s.t.Fatalf("%v: %v: %s %s", args, err, out.String(), shown.text.String())
		}
	case <-time.After(patience):
		s.t.Fatalf("%v does not end: %s", args, shown.text.String())
	}
	return out.String()
}

// newTab is a page of a browser whose authenticator verifies its owner.
func newTab(t *testing.T) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.UserDataDir(t.TempDir()), chromedp.NoSandbox) // the sandbox needs rights that tests lack
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	_, err := chromedp.Run(ctx, func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		if _, err := cdp.Call(ctx, t, webauthn.Enable, webauthn.EnableParams{}); err != nil {
			return chromedp.Void{}, err
		}
		_, err := cdp.Call(ctx, t, webauthn.AddVirtualAuthenticator, webauthn.AddVirtualAuthenticatorParams{Options: &webauthn.VirtualAuthenticatorOptions{Protocol: webauthn.AuthenticatorProtocolCtap2,
			Transport: webauthn.AuthenticatorTransportInternal, HasResidentKey: true, HasUserVerification: true, IsUserVerified: true, AutomaticPresenceSimulation: true}})
		return chromedp.Void{}, err
	})
	if err != nil {
		t.Fatalf("no browser: install Debian's package chromium: %v", err)
	}
	return ctx
}

// A passkey is registered and logs in, in a browser.
func TestInABrowser(t *testing.T) {
	s := newStand(t)
	tab := newTab(t)
	right := strings.TrimSpace(s.run("root", "write", "-field=registration_id", "identity/mfa/method/webauthn/admin-register", "method_id="+s.method, "entity_id="+s.entity))
	if out := s.inBrowser(tab, "mfa", "passkey", "add", "-registration-id="+right, "laptop"); !strings.Contains(out, "Registered the passkey") {
		t.Errorf("registered: %s", out)
	}
	for range 2 {
		out := s.inBrowser(tab, "login", "-token-only", "-method=userpass", "username=ann", "password=hunter2")
		if who := s.run(strings.TrimSpace(out), "token", "lookup"); !strings.Contains(who, "userpass-ann") {
			t.Errorf("logged in as %s", who)
		}
	}
	listed := s.run("root", "list", "-format=json", "-detailed", "identity/mfa/method/webauthn/"+s.method+"/entity/"+s.entity)
	if !strings.Contains(listed, "laptop") {
		t.Errorf("listed as %s", listed)
	}
}

// link is the address of the page with what it is asked.
func (s *stand) link(asked map[string]any) string {
	b, err := json.Marshal(asked)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.origin + "/v1/sys/mfa/passkey#" + base64.RawURLEncoding.EncodeToString(b)
}

// The page hands nothing to anybody but this machine, and shows no markup of who wrote the link.
func TestPageIsConfined(t *testing.T) {
	s := newStand(t)
	tab := newTab(t)
	options := map[string]any{"challenge": "AAAA", "rp": map[string]any{"id": "localhost", "name": "<b id=markup>x</b>"}, "user": map[string]any{"id": "AAAA", "name": "x", "displayName": "x"},
		"pubKeyCredParams": []any{map[string]any{"type": "public-key", "alg": -7}}}
	for _, asked := range []map[string]any{
		{"what": "create", "options": options, "port": "1@evil.example.com", "state": "x"},
		{"what": "create", "options": options, "port": 0, "state": "x"},
		{"what": "store", "options": options, "port": 1, "state": "x"},
		{"what": "create", "port": 1},
	} {
		if err := chromedp.Do(tab, chromedp.Navigate("about:blank"), chromedp.Navigate(s.link(asked)), chromedp.WaitReady(said)); err != nil {
			t.Fatal(err)
		}
		text, err := chromedp.Run(tab, chromedp.Text(said))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(text, "Nothing is asked of you here") {
			t.Errorf("%v: the page says %q", asked, text)
		}
	}
	evil := make(chan string, 8)
	other := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { evil <- r.URL.Path }), ReadHeaderTimeout: patience}
	addr, err := process.FreeAddr()
	if err != nil {
		t.Fatal(err)
	}
	other.Addr = addr
	go other.ListenAndServe() //nolint:errcheck // it is closed
	t.Cleanup(func() { other.Close() })
	elsewhere := "http://" + strings.Replace(addr, "127.0.0.1", "localhost", 1)
	if err := chromedp.Do(tab, chromedp.Navigate("about:blank"), chromedp.Navigate(s.link(map[string]any{"what": "create", "options": options, "port": 1, "state": "x"})), chromedp.WaitVisible(button)); err != nil {
		t.Fatal(err)
	}
	violations, err := chromedp.Run(tab, chromedp.Evaluate[int](`new Promise(done => { let n = 0; addEventListener("securitypolicyviolation", () => ++n == 3 && done(n));
		const form = document.getElementById("form"); form.action = "`+elsewhere+`/form"; form.submit();
		fetch("`+elsewhere+`/fetch").catch(() => {}); new Image().src = "`+elsewhere+`/image"; })`, chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatal(err)
	}
	markup, err := chromedp.Run(tab, chromedp.Evaluate[bool](`document.getElementById("markup") != null`))
	if err != nil || markup || violations != 3 {
		t.Errorf("%d violations of the page's policy, markup of the link %v, %v", violations, markup, err)
	}
	select {
	case path := <-evil:
		t.Errorf("the page has asked elsewhere for %s", path)
	default:
	}
}
