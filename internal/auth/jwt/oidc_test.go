package jwt

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/authtest"
	"github.com/strongroom/strongroom/internal/store"
)

func TestLoginByBrowser(t *testing.T) {
	for _, basic := range []bool{true, false} {
		p := newIDP(t)
		p.basic = basic
		p.info = m{"sub": "alice", "groups": []string{"staff"}, "aud": "evil", "email": "a@example.com"}
		s := people(t, p, m{"groups_claim": "groups", "claim_mappings": m{"email": "mail"}, "max_age": 3600}, nil)
		p.claims = m{"auth_time": authtest.Epoch.Unix()}
		a := s.begin(nil)
		if a.State != "" || a.PollInterval != "" || a.UserCode != "" {
			t.Errorf("a login of the usual kind answers %+v, which clients refuse", a)
		}
		u, err := url.Parse(a.AuthURL)
		if err != nil {
			t.Fatal(err)
		}
		q := u.Query()
		if q.Get("scope") != "openid email" || q.Get("response_type") != "code" || q.Get("max_age") != "3600" || q.Get("client_id") != "client" || len(q.Get("nonce")) < 32 {
			t.Errorf("the provider is asked for %v", q)
		}
		code, state := p.approve(a.AuthURL)
		got, err := s.twin().back(m{"state": state, "code": code}) // on another node
		if err != nil {
			t.Fatal(err)
		}
		auth := got.Auth
		if auth == nil || auth.Alias.Name != "alice" || !slices.Equal(auth.GroupAliases, []string{"staff"}) || auth.Metadata["mail"] != "a@example.com" || auth.Metadata["role"] != "r" {
			t.Errorf("the login answers %+v", auth)
		}
		if _, err := s.back(m{"state": state, "code": code}); err == nil || !strings.Contains(err.Error(), "expired or missing") {
			t.Errorf("a second time: %v", err)
		}
	}
}

// TestAStateIsGoodOnce has many bring back the same answer at once, to two nodes.
func TestAStateIsGoodOnce(t *testing.T) {
	p := newIDP(t)
	s := people(t, p, nil, nil)
	code, state := p.approve(s.begin(nil).AuthURL)
	var let atomic.Int64
	var wg sync.WaitGroup
	for range 32 {
		n := s.twin()
		wg.Go(func() {
			if a, err := n.back(m{"state": state, "code": code}); err == nil && a.Auth != nil {
				let.Add(1)
			}
		})
	}
	if wg.Wait(); let.Load() != 1 {
		t.Errorf("%d were let in, want 1", let.Load())
	}
}

// TestAnswersThatAreNotForUs brings back what another login, client, issuer or key has made.
func TestAnswersThatAreNotForUs(t *testing.T) {
	for name, c := range map[string]struct {
		claims, query m
		role          m
		wait          time.Duration
		key           any
	}{
		"another nonce":        {claims: m{"nonce": "other"}},
		"no nonce":             {claims: m{"nonce": nil}},
		"another client":       {claims: m{"aud": "other"}},
		"another client too":   {claims: m{"aud": []string{"client", "other"}}},
		"given to another":     {claims: m{"azp": "other"}},
		"another issuer":       {claims: m{"iss": "https://evil.example"}},
		"expired":              {claims: m{"exp": authtest.Epoch.Add(-time.Hour).Unix()}},
		"without an end":       {claims: m{"exp": nil}},
		"without a beginning":  {claims: m{"iat": nil}},
		"nobody":               {claims: m{"sub": ""}},
		"another key":          {key: keyring().other},
		"another code":         {query: m{"code": "x"}},
		"no code":              {query: m{"code": ""}},
		"an error":             {query: m{"error": "access_denied"}},
		"another state":        {query: m{"state": random(0, 0)}},
		"no state":             {query: m{"state": ""}},
		"another client nonce": {query: m{"client_nonce": "other"}},
		"no client nonce":      {query: m{"client_nonce": ""}},
		"too late":             {wait: flowTime},
		"audience of the role": {role: m{"bound_audiences": "other"}},
		"claims of the role":   {role: m{"bound_claims": m{"x": "y"}}},
		"subject of the role":  {role: m{"bound_subject": "bob"}},
		"login too long ago":   {role: m{"max_age": 60}, claims: m{"auth_time": authtest.Epoch.Add(-time.Hour).Unix()}},
	} {
		p := newIDP(t)
		s := people(t, p, c.role, nil)
		if p.claims = c.claims; c.key != nil {
			p.key = c.key
		}
		code, state := p.approve(s.begin(nil).AuthURL)
		q := m{"state": state, "code": code}
		for k, v := range c.query {
			q[k] = v
		}
		s.With.Now = s.With.Now.Add(c.wait)
		a, err := s.back(q)
		if err == nil || api.KindOf(err) != api.Invalid {
			t.Errorf("%s: %+v, %v", name, a, err)
		}
		if c.query["state"] == nil {
			if a, err := s.back(m{"state": state, "code": code}); err == nil {
				t.Errorf("%s: tried again: %+v", name, a)
			}
		}
	}
}

// TestUserInfoOfAnother is not believed, and what is signed is not replaced.
func TestUserInfoOfAnother(t *testing.T) {
	p := newIDP(t)
	s := people(t, p, m{"bound_claims": m{"admin": "yes"}}, nil)
	for _, info := range []m{{"sub": "bob", "admin": "yes"}, {"admin": "yes"}} {
		p.info = info
		code, state := p.approve(s.begin(nil).AuthURL)
		if a, err := s.back(m{"state": state, "code": code}); err == nil {
			t.Errorf("%v was believed: %+v", info, a.Auth)
		}
	}
	p.info, p.claims = m{"sub": "alice", "admin": "yes"}, m{"admin": "no"}
	code, state := p.approve(s.begin(nil).AuthURL)
	if a, err := s.back(m{"state": state, "code": code}); err == nil {
		t.Errorf("what is signed was replaced: %+v", a.Auth)
	}
}

// TestWhereBrowsersAreSent takes the addresses of the role alone; on the machine itself any port will do.
func TestWhereBrowsersAreSent(t *testing.T) {
	p := newIDP(t)
	s := people(t, p, nil, nil)
	for target, want := range map[string]bool{
		here:                                                true,
		"http://localhost:1/oidc/callback":                  true,
		"http://localhost/oidc/callback":                    true,
		"http://127.0.0.1:8250/oidc/callback":               false,
		"http://localhost:8250/oidc/callback/":              false,
		"http://localhost:8250/oidc/callback?a":             false,
		"http://localhost:8250/oidc/callback#a":             false,
		"http://localhost:8250/oidc/callback#":              false,
		"https://localhost:8250/oidc/callback":              false,
		"http://a@localhost:8250/oidc/callback":             false,
		"http://localhost.evil.example:8250/oidc/callback":  false,
		"https://sr.example/v1/auth/oidc/oidc/callback":     true,
		"https://sr.example:443/v1/auth/oidc/oidc/callback": false,
		"https://SR.example/v1/auth/oidc/oidc/callback":     false,
		"https://sr.example/v1/auth/oidc/oidc/callback/..":  false,
		"https://evil.example/v1/auth/oidc/oidc/callback":   false,
		"//localhost:8250/oidc/callback":                    false,
		"":                                                  false,
	} {
		if a := s.begin(m{"redirect_uri": target}); (a.AuthURL != "") != want {
			t.Errorf("%s: %+v", target, a)
		}
	}
}

// TestNobodyLearnsWhoCanBegin compares the answers for roles that are there and those that are not.
func TestNobodyLearnsWhoCanBegin(t *testing.T) {
	p := newIDP(t)
	s := people(t, p, m{"callback_mode": "device"}, nil)
	s.Must(api.Write, "role/machine", ordinary(nil))
	for _, q := range []m{{"role": "nobody"}, {"role": "machine"}, {"role": "r", "client_nonce": ""}} {
		if a := s.begin(q); *a != (AuthURLAnswer{}) {
			t.Errorf("%v: %+v", q, a)
		}
	}
	s.Refused(api.Write, "oidc/auth_url", m{}, api.Invalid, "missing role")
	s.Must(api.Write, "config", m{"jwt_validation_pubkeys": authtest.PEM(t, keyring().rsa.Public())})
	s.Refused(api.Write, "oidc/auth_url", m{"role": "r"}, api.Invalid, "not configured")
}

// TestDeviceFlow follows RFC 8628: nobody is let in before the person has agreed, the provider is not asked
// more often than it wants, and one poll gets the token.
func TestDeviceFlow(t *testing.T) {
	p := newIDP(t)
	s := people(t, p, m{"callback_mode": "device"}, nil)
	a := s.begin(m{"redirect_uri": ""})
	if a.UserCode != "WDJB-MJHT" || a.AuthURL != p.URL+"/activate" || a.PollInterval != "5" || a.State == "" {
		t.Fatalf("a login by device begins with %+v", a)
	}
	poll := m{"state": a.State, "client_nonce": "the-nonce"}
	s.Refused(api.Write, "oidc/poll", poll, api.Invalid, "authorization_pending")
	twin := s.twin()
	for range 50 {
		twin.Refused(api.Write, "oidc/poll", poll, api.Invalid, "slow_down")
	}
	if p.polled != 1 {
		t.Errorf("the provider was asked %d times at once", p.polled)
	}
	s.With.Now = s.With.Now.Add(5 * time.Second)
	p.finish("slow_down")
	s.Refused(api.Write, "oidc/poll", poll, api.Invalid, "slow_down")
	s.With.Now = s.With.Now.Add(5 * time.Second)
	s.Refused(api.Write, "oidc/poll", poll, api.Invalid, "slow_down") // the interval is 10 seconds by now
	if p.polled != 2 {
		t.Errorf("the provider was asked %d times, the last one too early", p.polled)
	}
	p.finish("done")
	s.With.Now = s.With.Now.Add(5 * time.Second)
	got := s.Must(api.Write, "oidc/poll", poll).(*api.Auth)
	if got.Alias.Name != "alice" || !slices.Equal(got.TokenPolicies, []string{"dev"}) {
		t.Errorf("%+v", got)
	}
	s.Refused(api.Write, "oidc/poll", poll, api.Invalid, "expired or missing")
}

func TestDeviceFlowThatComesToNothing(t *testing.T) {
	for name, c := range map[string]struct {
		state, says string
		poll        m
		wait        time.Duration
		claims      m
	}{
		"refused":       {state: "access_denied", says: "access_denied"},
		"unknown error": {state: "<script>", says: "the provider refuses"},
		"other nonce":   {state: "done", poll: m{"client_nonce": "x"}, says: "client_nonce"},
		"no nonce":      {state: "done", poll: m{"client_nonce": ""}, says: "client_nonce"},
		"expired":       {state: "done", wait: 300 * time.Second, says: "expired"},
		"for another":   {state: "done", claims: m{"aud": "x"}, says: "another client"},
	} {
		p := newIDP(t)
		s := people(t, p, m{"callback_mode": "device"}, nil)
		a := s.begin(nil)
		p.finish(c.state)
		p.claims = c.claims
		poll := m{"state": a.State, "client_nonce": "the-nonce"}
		for k, v := range c.poll {
			poll[k] = v
		}
		s.With.Now = s.With.Now.Add(c.wait)
		s.Refused(api.Write, "oidc/poll", poll, api.Invalid, c.says)
		s.Refused(api.Write, "oidc/poll", m{"state": a.State, "client_nonce": "the-nonce"}, api.Invalid, "expired or missing")
		if _, err := s.back(m{"state": a.State, "code": "x"}); err == nil {
			t.Errorf("%s: a login by device was finished by a browser", name)
		}
	}
}

// TestCVE_2026_33757 has an attacker begin a direct login and the victim finish it: without the code that the
// attacker's program shows, typed by the victim, the attacker gets nothing.
func TestCVE_2026_33757(t *testing.T) {
	p := newIDP(t)
	s := people(t, p, m{"callback_mode": "direct"}, nil)
	attack := s.begin(nil)
	poll := m{"state": attack.State, "client_nonce": "the-nonce"}
	code, state := p.approve(attack.AuthURL)
	victim := s.twin()
	victim.With.Remote = netip.MustParseAddr("198.51.100.7")
	for _, confirmation := range []string{"", "1", "true", "AAAA-AAAA"} {
		got, err := victim.back(m{"state": state, "code": code, "confirmation": confirmation, "client_nonce": ""})
		if err != nil || got.Auth != nil || !strings.Contains(string(got.Raw.Body), "Was it you?") {
			if got == nil || got.Raw == nil || got.Raw.Status != 400 {
				t.Fatalf("confirmation %q: %+v, %v", confirmation, got, err)
			}
		}
		if _, err := s.Do(api.Write, "oidc/poll", poll); err == nil {
			t.Fatalf("confirmation %q: the attacker has the victim's token", confirmation)
		}
	}
	if got, err := victim.back(m{"state": state, "code": code, "confirmation": attack.UserCode}); err == nil {
		t.Errorf("after three wrong codes the login goes on: %s", got.Raw.Body)
	}
	s.Refused(api.Write, "oidc/poll", poll, api.Invalid, "expired or missing")
}

func TestDirectLogin(t *testing.T) {
	p := newIDP(t)
	s := people(t, p, m{"callback_mode": "direct", "poll_interval": 2}, nil)
	a := s.begin(m{"redirect_uri": "https://sr.example/v1/auth/oidc/oidc/callback"})
	poll := m{"state": a.State, "client_nonce": "the-nonce"}
	if a.PollInterval != "2" || len(a.UserCode) != 9 {
		t.Errorf("%+v", a)
	}
	s.Refused(api.Write, "oidc/poll", poll, api.Invalid, "authorization_pending")
	code, state := p.approve(a.AuthURL)
	typed := " " + strings.ToLower(strings.ReplaceAll(a.UserCode, "-", " "))
	got, err := s.twin().back(m{"state": state, "code": code, "confirmation": typed, "client_nonce": ""})
	if err != nil || got.Auth != nil || !strings.Contains(string(got.Raw.Body), "You are logged in") {
		t.Fatalf("%+v, %v", got, err)
	}
	if got, err := s.back(m{"state": state, "code": code, "confirmation": a.UserCode}); err == nil {
		t.Errorf("a second time: %s", got.Raw.Body)
	}
	if auth := s.Must(api.Write, "oidc/poll", poll).(*api.Auth); auth.Alias.Name != "alice" {
		t.Errorf("%+v", auth)
	}
	s.Refused(api.Write, "oidc/poll", poll, api.Invalid, "expired or missing")

	a = s.begin(nil)
	code, state = p.approve(a.AuthURL)
	p.claims = m{"aud": "other"}
	if got, err := s.back(m{"state": state, "code": code, "confirmation": a.UserCode}); err != nil || got.Raw.Status != 400 {
		t.Errorf("%+v, %v", got, err)
	}
	s.Refused(api.Write, "oidc/poll", m{"state": a.State, "client_nonce": "the-nonce"}, api.Invalid, "another client")
}

// TestCVE_2023_2121_PagesEscape puts markup wherever a page shows something.
// Control: with text/template in place of html/template it fails.
func TestCVE_2023_2121_PagesEscape(t *testing.T) {
	p := newIDP(t)
	s := people(t, p, m{"callback_mode": "direct"}, nil)
	_, state := p.approve(s.begin(nil).AuthURL)
	got, err := s.back(m{"state": state, "code": `"><script>alert(1)</script>`})
	if err != nil || strings.Contains(string(got.Raw.Body), "<script") || !strings.Contains(string(got.Raw.Body), "&lt;script") {
		t.Errorf("%v, %s", err, got.Raw.Body)
	}
	got, err = s.back(m{"state": state, "error": "<script>alert(1)</script>"})
	if err != nil || strings.Contains(string(got.Raw.Body), "<script") || got.Raw.Status != 400 {
		t.Errorf("%v, %s", err, got.Raw.Body)
	}
}

// TestAnswersByForm has the provider post its answer: a code or the ID token itself.
func TestAnswersByForm(t *testing.T) {
	for _, kind := range []string{"code", "id_token"} {
		p := newIDP(t)
		s := people(t, p, nil, m{"oidc_response_mode": "form_post", "oidc_response_types": kind})
		a := s.begin(nil)
		code, state := p.approve(a.AuthURL)
		u, err := url.Parse(a.AuthURL)
		if err != nil || u.Query().Get("response_mode") != "form_post" || u.Query().Get("response_type") != kind {
			t.Fatalf("%s, %v", a.AuthURL, err)
		}
		form := m{"state": state, "code": code}
		if kind == "id_token" {
			form = m{"state": state, "id_token": p.idToken(u.Query().Get("nonce"))}
		}
		got := s.Must(api.Write, "oidc/callback", form).(*api.Answer)
		if got.Auth != nil || got.Raw == nil {
			t.Fatalf("%+v", got)
		}
		s.Refused(api.Write, "oidc/callback", form, api.Invalid, "expired or missing")
		back, err := s.twin().back(m{"state": state, "code": "no_code"})
		if err != nil || back.Auth == nil || back.Auth.Alias.Name != "alice" {
			t.Errorf("%s: %+v, %v", kind, back, err)
		}
	}
	p := newIDP(t)
	s := people(t, p, nil, nil)
	_, state := p.approve(s.begin(nil).AuthURL)
	s.Refused(api.Write, "oidc/callback", m{"state": state, "code": "x"}, api.Unsupported, "")
}

// TestTheNamespaceInTheState goes to the provider and back, and is not part of the address.
func TestTheNamespaceInTheState(t *testing.T) {
	p := newIDP(t)
	s := people(t, p, nil, nil)
	a := s.begin(m{"redirect_uri": "https://sr.example/v1/auth/oidc/oidc/callback?namespace=team"})
	code, state := p.approve(a.AuthURL)
	if !strings.HasSuffix(state, ",ns=team") {
		t.Fatalf("the state is %q", state)
	}
	if got, err := s.back(m{"state": state, "code": code}); err != nil || got.Auth == nil {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestAnotherConfiguration ends the logins that were begun under the one before.
func TestAnotherConfiguration(t *testing.T) {
	p := newIDP(t)
	s := people(t, p, nil, nil)
	code, state := p.approve(s.begin(nil).AuthURL)
	s.Must(api.Write, "config", m{"oidc_discovery_url": p.URL, "oidc_discovery_ca_pem": p.ca(), "oidc_client_id": "client", "oidc_client_secret": "client secret"})
	if a, err := s.back(m{"state": state, "code": code}); err == nil {
		t.Errorf("%+v", a)
	}
}

// TestLoginsThatAreOnlyBegun take no more than their places, and leave those of others.
func TestLoginsThatAreOnlyBegun(t *testing.T) {
	p := newIDP(t)
	s := people(t, p, nil, nil)
	f := &flow{Mode: byClient, Ends: s.With.Now.Add(flowTime)}
	refused := 0
	for range 3 * places / shares {
		if _, err := f.begin(s.Call()); api.KindOf(err) == api.TooMany {
			refused++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	es, err := s.With.Store.List(s.Call(), store.Prefix(flowPrefix))
	if err != nil || len(es) > places/shares || refused == 0 {
		t.Errorf("%d logins are kept, %d were refused, %v", len(es), refused, err)
	}
	other := s.twin()
	for i := range 256 { // some network has another share
		other.With.Remote = netip.AddrFrom4([4]byte{203, 0, byte(i), 1})
		if share(other.With.Remote) != share(s.With.Remote) {
			break
		}
	}
	if a := other.begin(nil); a.AuthURL == "" {
		t.Error("others cannot log in")
	}
	s.With.Now = s.With.Now.Add(flowTime)
	if a := s.begin(nil); a.AuthURL == "" {
		t.Error("the places are not taken again")
	}
}
