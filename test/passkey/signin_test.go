package passkey

import (
	"context"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/pquerna/otp"
	"github.com/pquerna/otp/totp"
	"golang.org/x/oauth2"
)

// Of the page at which people sign in.
const (
	name     = chromedp.ID("name")
	password = chromedp.ID("password")
	path     = chromedp.ID("path")
	enter    = chromedp.ID("enter")
	passcode = chromedp.CSS("#codes input")
	prove    = chromedp.ID("prove")
	other    = chromedp.ID("other") // the other of passcode and passkey
	problem  = chromedp.CSS("#problem:not(:empty)")
	refusal  = chromedp.CSS("#text:not(:empty)")
	greeting = chromedp.CSS("#greeting") // the application's
)

// application is a relying party as others write it, which greets whom it knows by their subject.
type application struct {
	*httptest.Server
	t        *testing.T
	login    oauth2.Config
	ids      *oidc.IDTokenVerifier
	issuer   string
	verifier string
	state    string
}

// newApplication is an application that the server knows, whose people sign in at an origin of the server's.
func (s *stand) newApplication(origin string) *application {
	s.t.Helper()
	a := &application{t: s.t, issuer: origin + "/v1/identity/oidc/provider/people", verifier: oauth2.GenerateVerifier(), state: "a state & more"}
	a.Server = httptest.NewServer(a)
	s.t.Cleanup(a.Close)
	back := a.URL + "/back?of=app"
	s.run("root", "write", "identity/oidc/client/app", "redirect_uris="+back, "assignments=allow_all", "client_type=public")
	s.run("root", "write", "identity/oidc/provider/people", "issuer="+origin, "allowed_client_ids=*")
	id := strings.TrimSpace(s.run("root", "read", "-field=client_id", "identity/oidc/client/app"))
	provider, err := oidc.NewProvider(s.t.Context(), a.issuer)
	if err != nil {
		s.t.Fatal(err)
	}
	a.login = oauth2.Config{ClientID: id, Endpoint: provider.Endpoint(), RedirectURL: back, Scopes: []string{oidc.ScopeOpenID}}
	a.ids = provider.Verifier(&oidc.Config{ClientID: id})
	return a
}

// ServeHTTP implements http.Handler: at first it sends people to the provider, who then come back.
func (a *application) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if r.URL.Path != "/back" {
		http.Redirect(w, r, a.login.AuthCodeURL(a.state, oidc.Nonce("a nonce"), oauth2.S256ChallengeOption(a.verifier)), http.StatusFound)
		return
	}
	who, err := a.known(r.Context(), q)
	if r.Referer() != "" {
		err = fmt.Errorf("the browser tells that it comes from %s", r.Referer())
	}
	if err != nil {
		who = html.EscapeString(err.Error())
	}
	fmt.Fprintf(w, "<p id=greeting>%s</p>", who)
}

// known is the subject of who has come back.
func (a *application) known(ctx context.Context, q url.Values) (string, error) {
	if q.Get("state") != a.state || q.Get("of") != "app" || q.Get("iss") != a.issuer {
		return "", fmt.Errorf("came back with %v", q)
	}
	if q.Has("error") {
		return "", fmt.Errorf("refused: %s, %s", q.Get("error"), q.Get("error_description"))
	}
	got, err := a.login.Exchange(ctx, q.Get("code"), oauth2.VerifierOption(a.verifier))
	if err != nil {
		return "", err
	}
	raw, _ := got.Extra("id_token").(string)
	id, err := a.ids.Verify(ctx, raw)
	if err != nil || id.Nonce != "a nonce" {
		return "", fmt.Errorf("nonce %v, %w", id, err)
	}
	return id.Subject, nil
}

// do takes steps, in bounded time.
func do(t *testing.T, tab context.Context, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	bounded, cancel := context.WithTimeout(tab, patience)
	defer cancel()
	if err := chromedp.Do(bounded, steps...); err != nil {
		page, _ := chromedp.Run(tab, chromedp.Evaluate[string]("location.href + ': ' + document.body.innerText")) //nolint:errcheck // for the message alone
		t.Fatalf("%v: at %s", err, page)
	}
}

// signIn opens an address and fills in the form.
func signIn(t *testing.T, tab context.Context, at, secret string) {
	t.Helper()
	do(t, tab, chromedp.Navigate(at), chromedp.WaitVisible(name), chromedp.SendKeys(name, "ann"), chromedp.SendKeys(password, secret), chromedp.Click(enter))
}

// reads waits for an element and answers its text.
func reads(t *testing.T, tab context.Context, what chromedp.CSS) string {
	t.Helper()
	do(t, tab, chromedp.WaitVisible(what))
	text, err := chromedp.Run(tab, chromedp.Text(what))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// accessors are how many tokens there are.
func (s *stand) accessors() int {
	s.t.Helper()
	return strings.Count(s.run("root", "list", "-format=json", "auth/token/accessors"), "\n")
}

// Somebody signs in to an application with a password, in a browser. Their token is gone then, and those that they
// have elsewhere are not, though their logins share one.
func TestSignsInByPassword(t *testing.T) {
	s := newServer(t)
	s.run("root", "write", "auth/userpass/users/ann", "token_reuse=true")
	app, tab := s.newApplication(s.url), newTab(t)
	elsewhere := strings.TrimSpace(s.run("", "login", "-token-only", "-method=userpass", "username=ann", "password=hunter2"))
	before := s.accessors()
	signIn(t, tab, app.URL, "wrong")
	if text := reads(t, tab, problem); !strings.Contains(text, "It has not worked") || strings.Contains(text, "passcode") {
		t.Errorf("with a wrong password the page says %q", text)
	}
	do(t, tab, chromedp.Navigate(app.URL), chromedp.WaitVisible(name), chromedp.Clear(path), chromedp.SendKeys(path, "nowhere"), chromedp.SendKeys(name, "ann"), chromedp.SendKeys(password, "hunter2"), chromedp.Click(enter))
	if text := reads(t, tab, problem); !strings.Contains(text, "nobody signs in at this path") {
		t.Errorf("at another path the page says %q", text)
	}
	s.run("root", "write", "identity/oidc/provider/people", "sign_in_paths=userpass,elsewhere")
	signIn(t, tab, app.URL, "hunter2")
	if text := reads(t, tab, greeting); text != s.entity {
		t.Errorf("where a path is chosen the application greets %q, want %s", text, s.entity)
	}
	s.run("root", "write", "identity/oidc/provider/people", "sign_in_paths=userpass")
	signIn(t, tab, app.URL, "hunter2")
	if text := reads(t, tab, greeting); text != s.entity {
		t.Errorf("the application greets %q, want %s", text, s.entity)
	}
	if after := s.accessors(); after != before {
		t.Errorf("%d tokens before and %d after", before, after)
	}
	s.run(elsewhere, "token", "lookup")
}

// Somebody signs in with a passcode too.
func TestSignsInByPasscode(t *testing.T) {
	s := newServer(t)
	method := strings.TrimSpace(s.run("root", "write", "-field=method_id", "identity/mfa/method/totp", "issuer=Acme", "method_name=app"))
	key, err := otp.NewKeyFromURL(strings.TrimSpace(s.run("root", "write", "-field=url", "identity/mfa/method/totp/admin-generate", "method_id="+method, "entity_id="+s.entity)))
	if err != nil {
		t.Fatal(err)
	}
	s.run("root", "write", "identity/mfa/login-enforcement/people", "mfa_method_ids="+method, "auth_method_types=userpass")
	app, tab := s.newApplication(s.url), newTab(t)
	before := s.accessors()
	signIn(t, tab, app.URL, "hunter2")
	do(t, tab, chromedp.WaitVisible(passcode), chromedp.SendKeys(passcode, "none"), chromedp.Click(prove))
	if text := reads(t, tab, problem); !strings.Contains(text, "the passcode is wrong, or was taken already") {
		t.Errorf("with a wrong passcode the page says %q", text)
	}
	code, err := totp.GenerateCode(key.Secret(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	do(t, tab, chromedp.SendKeys(passcode, code), chromedp.Click(prove))
	if text := reads(t, tab, greeting); text != s.entity {
		t.Errorf("the application greets %q, want %s", text, s.entity)
	}
	if after := s.accessors(); after != before {
		t.Errorf("%d tokens before and %d after", before, after)
	}
}

// Somebody signs in with a passkey, which they must have, and then may have in place of a passcode. It is shown where it was
// registered for, and nowhere else.
func TestSignsInByPasskey(t *testing.T) {
	s := newStand(t)
	tab := newTab(t)
	right := strings.TrimSpace(s.run("root", "write", "-field=registration_id", "identity/mfa/method/webauthn/admin-register", "method_id="+s.method, "entity_id="+s.entity))
	s.inBrowser(tab, "mfa", "passkey", "add", "-registration-id="+right, "laptop")
	elsewhere := s.newApplication(s.url)
	signIn(t, tab, elsewhere.URL, "hunter2")
	do(t, tab, chromedp.WaitVisible(prove), chromedp.Click(prove))
	if text := reads(t, tab, problem); !strings.Contains(text, "passkeys are shown at "+s.origin) {
		t.Errorf("where no passkey is shown the page says %q", text)
	}
	app, before := s.newApplication(s.origin), s.accessors()
	signIn(t, tab, app.URL, "hunter2")
	do(t, tab, chromedp.WaitVisible(prove), chromedp.WaitNotVisible(other), chromedp.Click(prove))
	if text := reads(t, tab, greeting); text != s.entity {
		t.Errorf("the application greets %q, want %s", text, s.entity)
	}
	codes := strings.TrimSpace(s.run("root", "write", "-field=method_id", "identity/mfa/method/totp", "issuer=Acme", "method_name=app"))
	s.run("root", "write", "identity/mfa/login-enforcement/people", "mfa_method_ids="+codes+","+s.method, "auth_method_types=userpass")
	signIn(t, tab, app.URL, "hunter2")
	do(t, tab, chromedp.WaitVisible(passcode), chromedp.Click(other), chromedp.WaitNotPresent(passcode), chromedp.Click(prove))
	if text := reads(t, tab, greeting); text != s.entity {
		t.Errorf("the application greets %q, want %s", text, s.entity)
	}
	if after := s.accessors(); after != before {
		t.Errorf("%d tokens before and %d after", before, after)
	}
	s.run("root", "write", "identity/mfa/method/webauthn/admin-destroy", "method_id="+s.method, "entity_id="+s.entity)
	signIn(t, tab, app.URL, "hunter2")
	do(t, tab, chromedp.WaitVisible(other), chromedp.Click(other), chromedp.WaitNotPresent(passcode), chromedp.Click(prove))
	if text := reads(t, tab, problem); !strings.Contains(text, "you have no passkey") {
		t.Errorf("without a passkey the page says %q", text)
	}
}

// The page of a namespace, whose methods get what people enter, says that it is of that namespace.
func TestSignInPageSaysWhoseItIs(t *testing.T) {
	s := newServer(t)
	s.run("root", "namespace", "create", "team")
	tab := newTab(t)
	for at, want := range map[string]string{"": "just come from there.", "team/": "Your name and password go to the namespace team."} {
		s.run("root", "write", at+"identity/oidc/client/app", "redirect_uris=https://app.example.com/back", "assignments=allow_all")
		id := strings.TrimSpace(s.run("root", "read", "-field=client_id", at+"identity/oidc/client/app"))
		do(t, tab, chromedp.Navigate(s.url+"/v1/"+at+"identity/oidc/provider/default/sign-in?response_type=code&scope=openid&redirect_uri=https%3A%2F%2Fapp.example.com%2Fback&client_id="+id), chromedp.WaitVisible(name))
		if text := reads(t, tab, "#text"); !strings.HasPrefix(text, "The application at app.example.com asks who you are.") || !strings.HasSuffix(text, want) {
			t.Errorf("in %q the page says %q", at, text)
		}
	}
}

// The page sends nobody where the client has no address, runs nothing that stands in its own, and asks nobody but its server. What
// can never be answered is said before anybody is asked for a password, to the application where it is known.
func TestSignInPageIsConfined(t *testing.T) {
	s := newServer(t)
	app, tab := s.newApplication(s.url), newTab(t)
	other := make(chan string, 8)
	evil := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { other <- r.URL.Path }))
	t.Cleanup(evil.Close)
	asks := func(redirect, more string) string {
		login := app.login
		login.RedirectURL = redirect
		return login.AuthCodeURL(app.state, oauth2.S256ChallengeOption(app.verifier)) + more
	}
	for at, why := range map[string]string{
		asks(evil.URL+"/back?of=app", ""): "none that the application has here", asks("javascript:document.title='run'//", ""): "none that the application has here",
		strings.Replace(asks(app.login.RedirectURL, ""), "client_id=", "client_id=x", 1): "no application is known here", asks(app.login.RedirectURL, "&state=a+state+%26+more"): "state is there twice",
		asks("", ""): "redirect_uri parameter is required",
	} {
		do(t, tab, chromedp.Navigate("about:blank"), chromedp.Navigate(at), chromedp.WaitVisible(refusal))
		text := reads(t, tab, refusal)
		offered, err := chromedp.Run(tab, chromedp.Evaluate[bool](`!document.getElementById("login").hidden || document.title == "run"`))
		if err != nil || offered || !strings.Contains(text, "This cannot be answered") || !strings.Contains(text, why) {
			t.Errorf("%s: the page says %q and goes on: %v, %v", at, text, offered, err)
		}
	}
	for more, told := range map[string]string{"&prompt=none": "refused: login_required", "&request=x": "refused: request_not_supported", "&response_mode=form_post": "refused: invalid_request, response_mode"} {
		do(t, tab, chromedp.Navigate(asks(app.login.RedirectURL, more)))
		if text := reads(t, tab, greeting); !strings.Contains(text, told) {
			t.Errorf("%s: the application says %q, want %q", more, text, told)
		}
	}
	do(t, tab, chromedp.Navigate(asks(app.login.RedirectURL, "")), chromedp.WaitVisible(name))
	bounded, cancel := context.WithTimeout(tab, patience)
	defer cancel()
	violations, err := chromedp.Run(bounded, chromedp.Evaluate[int](`new Promise(done => { let n = 0; addEventListener("securitypolicyviolation", () => ++n == 4 && done(n));
		const form = document.getElementById("login"); form.action = "`+evil.URL+`/form"; HTMLFormElement.prototype.submit.call(form);
		fetch("`+evil.URL+`/fetch").catch(() => {}); new Image().src = "`+evil.URL+`/image";
		try { document.body.innerHTML = "<b>x</b>"; } catch (e) {} })`, chromedp.EvalAwaitPromise))
	if err != nil || violations != 4 {
		t.Errorf("%d violations of the page's policy, %v", violations, err)
	}
	select {
	case path := <-other:
		t.Errorf("the page has asked elsewhere for %s", path)
	default:
	}
}
