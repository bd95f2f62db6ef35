package userpass

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/authtest"
)

// plain hashes passwords for tests, and counts its work.
type plain struct{ work int }

func (p *plain) Hash(_ context.Context, s api.Secret) (string, error) {
	return "new:" + s.Reveal(), nil
}

func (p *plain) Check(_ context.Context, form string, s api.Secret) (right, old bool, err error) {
	p.work++
	if s.Reveal() == "break" {
		return false, false, errors.New("broken")
	}
	kind, text, _ := strings.Cut(form, ":")
	right = form != "" && text == s.Reveal()
	return right, right && kind == "old", nil
}

func (p *plain) Take(form api.Secret) (string, error) {
	if !strings.HasPrefix(form.Reveal(), "old:") {
		return "", api.Errorf(api.Invalid, "password_hash: not a hash")
	}
	return form.Reveal(), nil
}

// locks is a count of attempts that refuses some accounts.
type locks map[string]bool

func (l locks) Attempt(_ *api.Call, account string, check func() (bool, error)) (bool, error) {
	if l[account] {
		return false, nil
	}
	return check()
}

// desk is a mounted method, with hashes and locks.
type desk struct {
	*authtest.Mount
	words plain
	locks locks
}

func open(t testing.TB) *desk {
	t.Helper()
	d := &desk{Mount: authtest.Open(t, Engine), locks: locks{}}
	d.With.Passwords, d.With.Attempts = &d.words, d.locks
	return d
}

func (d *desk) login(name, password string) (*api.Auth, string) {
	d.Helper()
	a, err := d.Login("login/"+name, fmt.Sprintf(`{"password":%q}`, password))
	if err != nil {
		return nil, err.Error()
	}
	return a, ""
}

func TestLogin(t *testing.T) {
	d := open(t)
	d.MustText(api.Write, "users/Ann", `{"password":"pw","policies":"Dev","ttl":"5m"}`)
	for _, name := range []string{"ann", "ANN", "Ann"} {
		a, text := d.login(name, "pw")
		if a == nil || a.Alias.Name != "ann" || a.DisplayName != "userpass-ann" || a.TokenPolicies[0] != "dev" || a.TTL != 5*time.Minute || a.Metadata["username"] != "ann" {
			t.Errorf("%s: %+v %s", name, a, text)
		}
	}
	if got := d.MustText(api.Read, "users/ann", ""); !strings.Contains(got, `"policies":["dev"]`) || !strings.Contains(got, `"ttl":300`) || strings.Contains(got, "pw") {
		t.Errorf("read: %s", got)
	}
	d.MustText(api.Write, "users/ann", `{"token_policies":["ops"]}`)
	if got := d.MustText(api.Read, "users/ann", ""); strings.Contains(got, `"policies":["ops"],"b`) || !strings.Contains(got, `"ttl":300`) {
		t.Errorf("read: %s", got)
	}
	if a, _ := d.login("ann", "pw"); a == nil || a.TokenPolicies[0] != "ops" {
		t.Error("a write without a password has changed it")
	}
	d.MustText(api.Write, "users/ann", `{"token_policies":""}`)
	if a, _ := d.login("ann", "pw"); a == nil || len(a.TokenPolicies) != 0 {
		t.Error("an empty text has not emptied the list")
	}
}

// CVE-2020-35177, CVE-2023-3462: whatever is wrong, the answer and the work are the same.
func TestCVE_2020_35177_AnswersDoNotTell(t *testing.T) {
	d := open(t)
	d.MustText(api.Write, "users/ann", `{"password":"pw"}`)
	d.MustText(api.Write, "users/locked", `{"password":"pw"}`)
	d.locks["locked"], d.locks["nobody-locked"] = true, true
	for _, who := range [][2]string{{"ann", "wrong"}, {"nobody", "pw"}, {"locked", "pw"}, {"locked", "wrong"}, {"nobody-locked", "x"}} {
		before := d.words.work
		a, text := d.login(who[0], who[1])
		if a != nil || text != "invalid username or password" || d.words.work != before+1 {
			t.Errorf("%v: %q after %d hashes", who, text, d.words.work-before)
		}
	}
	if a, text := d.login("ann", "break"); a != nil || text != "broken" {
		t.Errorf("a check that failed: %+v %s", a, text)
	}
}

func TestPasswordsOfElsewhere(t *testing.T) {
	d := open(t)
	d.MustText(api.Write, "users/ann", `{"password_hash":"old:pw"}`)
	for range 2 {
		if a, text := d.login("ann", "pw"); a == nil {
			t.Fatal(text)
		}
		u, err := load(t.Context(), d.With.Store, "ann")
		if err != nil || u.Hash != "new:pw" {
			t.Errorf("%+v, %v", u, err)
		}
	}
	for body, want := range map[string]string{`{"password_hash":"x"}`: "password_hash: not a hash", `{"password":"a","password_hash":"old:a"}`: "only one", `{}`: "missing password"} {
		if text, kind := d.Text(api.Write, "users/bob", body); kind != api.Invalid || !strings.Contains(text, want) {
			t.Errorf("%s: %v %s", body, kind, text)
		}
		if text, kind := d.Text(api.Write, "users/ann/password", body); kind != api.Invalid || !strings.Contains(text, want) {
			t.Errorf("%s: %v %s", body, kind, text)
		}
	}
}

// An empty password, as of an unset variable of a shell, is refused, and changes nothing.
func TestEmptyPassword(t *testing.T) {
	d := open(t)
	d.Do(api.Write, "users/ann", `{"password":"pw","token_policies":"dev"}`)
	for _, body := range []string{`{"password":"","token_policies":"ops"}`, `{"password":""}`, `{"password_hash":"","token_policies":"ops"}`, `{"password":"","password_hash":""}`} {
		if text, kind := d.Text(api.Write, "users/ann", body); kind != api.Invalid || !strings.Contains(text, "password") {
			t.Errorf("%s: %v %s", body, kind, text)
		}
	}
	d.Do(api.Write, "users/ann", `{"password":"new","password_hash":""}`)
	d.Do(api.Write, "users/ann", `{"token_ttl":"1h"}`)
	if text, kind := d.Text(api.Write, "login/ann", `{"password":"new"}`); kind != authtest.Success || strings.Contains(text, "ops") {
		t.Errorf("%v %s", kind, text)
	}
}

func TestRefused(t *testing.T) {
	d := open(t)
	for _, c := range [][2]string{
		{"users/ann", `{"password":"pw","token_policies":"dev, ROOT "}`}, {"users/ann", `{"password":"pw","token_bound_cidrs":"x"}`},
		{"users/" + strings.Repeat("a", 257), `{"password":"pw"}`}, {"users/ann/password", `{"password":"pw"}`}, {"users/ann/policies", `{"policies":"x"}`}, {"login/ann", `{}`},
		{"login/" + strings.Repeat("a", 257), `{"password":"pw"}`},
	} {
		if text, kind := d.Text(api.Write, c[0], c[1]); kind != api.Invalid {
			t.Errorf("%.20s %s: %v %s", c[0], c[1], kind, text)
		}
	}
	if _, kind := d.Text(api.Read, "users/ann", ""); kind != api.NotFound {
		t.Errorf("a refused user is there: %v", kind)
	}
}

func TestRenew(t *testing.T) {
	d := open(t)
	d.MustText(api.Write, "users/ann", `{"password":"pw","token_policies":"dev"}`)
	a, _ := d.login("ann", "pw")
	s := &api.Session{Private: a.Private}
	if got, err := d.Engine.Renew(d.Call(), s); err != nil || got.TokenPolicies[0] != "dev" {
		t.Errorf("%+v, %v", got, err)
	}
	d.MustText(api.Delete, "users/ann", "")
	if _, err := d.Engine.Renew(d.Call(), s); api.KindOf(err) != api.Invalid {
		t.Errorf("of a user that is gone: %v", err)
	}
	d.MustText(api.Write, "users/ann", `{"password":"other","token_policies":"dev"}`)
	if _, err := d.Engine.Renew(d.Call(), s); api.KindOf(err) != api.Invalid {
		t.Errorf("of another who has the name now: %v", err)
	}
}

func TestList(t *testing.T) {
	d := open(t)
	for _, name := range []string{"c", "a", "B"} {
		d.MustText(api.Write, "users/"+name, `{"password":"pw"}`)
	}
	if got := d.MustText(api.List, "users", ""); got != `{"keys":["a","b","c"]}` {
		t.Error(got)
	}
	if got := d.MustText(api.List, "users", `{"after":"a","limit":1}`); got != `{"keys":["b"]}` {
		t.Error(got)
	}
}

// An alias that an operator writes has the spelling that logins have.
func TestSpelling(t *testing.T) {
	e, err := Engine()
	if err != nil {
		t.Fatal(err)
	}
	if got := e.Spell("Ann"); got != "ann" {
		t.Errorf("an alias for Ann is called %q, and logins as Ann are called ann", got)
	}
}
