package ldap

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-ldap/ldap/v3"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/test/slapd"
)

// spellings of alice that a directory, or the eye, may take for her.
func spellings() []string {
	return []string{"alice", "Alice", "ALICE", " alice", "alice ", "alice\u00a0", "\u00a0alice", "alice\u200b", "al\u00adice", "ａｌｉｃｅ", "alıce", "alice\ufe0f", "al\u034fice",
		"alice\t", "alice\n", "\u2060alice", "alice@example.com", "Alice@Example.COM"}
}

// However a name is spelled, who is let in by it is one, with one alias and one count.
func TestCVE2025_6013_OneAliasForAllSpellings(t *testing.T) {
	for name, settings := range map[string]string{
		"as it is":        `{}`,
		"typed name":      `{"username_as_alias":true}`,
		"two attributes":  `{"username_as_alias":true,"userattr":"cn","userfilter":"(|(uid={{.Username}})(mail={{.Username}}))"}`,
		"and another":     `{"userfilter":"(|(mail={{.Username}})(uid={{.Username}}))"}`,
		"approximately":   `{"userfilter":"(uid~={{.Username}})"}`,
		"with capitals":   `{"case_sensitive_names":true}`,
		"in some classes": `{"userfilter":"(&(objectClass=inetOrgPerson)(uid={{.Username}}))"}`,
	} {
		t.Run(name, func(t *testing.T) {
			m := searching(t, settings)
			m.MustText(api.Write, "users/alice", `{"policies":"hers"}`)
			in := 0
			for _, s := range spellings() {
				a, err := m.login(s, slapd.Password)
				if err != nil {
					continue
				}
				if in++; a.Alias.Name != "alice" {
					t.Errorf("%q is %q", s, a.Alias.Name)
				}
				if strings.EqualFold(s, "alice") && !slices.Contains(a.TokenPolicies, "hers") {
					t.Errorf("%q has policies %q", s, a.TokenPolicies)
				}
			}
			if in < 3 {
				t.Errorf("only %d spellings are let in", in)
			}
		})
	}
}

// A name of accents is one, in whichever form of Unicode it is typed.
func TestNamesInFormsOfUnicode(t *testing.T) {
	m := searching(t, "")
	for _, s := range []string{"José García", "Jose\u0301 Garci\u0301a", "JOSÉ GARCÍA"} {
		if a := m.enters(s); a.Alias.Name != "josé garcía" {
			t.Errorf("%q is %q", s, a.Alias.Name)
		}
	}
	m.refused("José  García", slapd.Password, api.Invalid)
}

// Whatever the spelling, wrong passwords are counted for one account, be it there or not.
func TestCVE2025_6004_OneCountForAllSpellings(t *testing.T) {
	for _, settings := range []string{`{}`, `{"binddn":""}`, `{"userfilter":"(|(uid={{.Username}})(mail={{.Username}}))"}`, `{"case_sensitive_names":true}`} {
		for who, variants := range map[string][]string{"alice": spellings(), "nobody": {"nobody", "Nobody", "NOBODY", "nobody ", "nobody\u00ad"}} {
			m := searching(t, settings)
			for _, s := range variants {
				if strings.Contains(s, "@") && !strings.Contains(settings, "mail") {
					continue
				}
				m.refused(s, "wrong", api.Invalid)
			}
			if got := slices.Compact(m.tries.Accounts()); len(got) != 1 || got[0] != who {
				t.Errorf("%s: counted for %q", settings, got)
			}
		}
	}
}

// The answer does not tell whether there is such an account, nor why it is not let in.
func TestCVE2020_35177_AnswersTellNothing(t *testing.T) {
	for _, settings := range []string{`{}`, `{"binddn":""}`} {
		m := searching(t, settings)
		want := m.refused("alice", "wrong", api.Invalid)
		got := []string{m.refused("nobody", "wrong", api.Invalid), m.refused("a*", "wrong", api.Invalid), m.refused("twin", "wrong", api.Invalid), m.refused("mallory", "wrong", api.Invalid)}
		if settings == `{}` {
			got = append(got, m.refused("twin", slapd.Password, api.Invalid)) // which of them?
		}
		m.tries.Lock(true)
		got = append(got, m.refused("alice", slapd.Password, api.Invalid), m.refused("nobody", "wrong", api.Invalid))
		for _, g := range got {
			if g != want {
				t.Errorf("%q, want %q", g, want)
			}
		}
		tellsNothing(t, want)
	}
}

// Nor does the way to it: the directory is asked the same, step by step.
func TestCVE2025_6011_AsManyStepsForNobody(t *testing.T) {
	f := newFake(t)
	f.passwords["cn=reader"] = "reader"
	f.answer = func(_, filter string) []*ldap.Entry {
		if filter == "(uid=alice)" {
			return []*ldap.Entry{ldap.NewEntry("uid=alice,dc=x", map[string][]string{"uid": {"alice"}})}
		}
		if filter == "(uid=twin)" {
			return []*ldap.Entry{ldap.NewEntry("uid=twin,dc=x", map[string][]string{"uid": {"twin"}}), ldap.NewEntry("uid=twin,dc=y", map[string][]string{"uid": {"twin"}})}
		}
		return nil
	}
	m := newMount(t)
	m.MustText(api.Write, "config", `{"url":"`+f.url()+`","binddn":"cn=reader","bindpass":"reader","userattr":"uid","userdn":"dc=x"}`)
	for _, who := range []string{"alice", "nobody", "twin"} {
		m.refused(who, "wrong", api.Invalid)
		same(t, who, f.takeSteps(), []string{"bind", "search", "bind"})
	}
	f.passwords["cn=nobody of this name,dc=x"] = "not a password" // and should somebody be called so
	m.refused("nobody", "wrong", api.Invalid)
	m.refused("nobody", "not a password", api.Invalid)
}

// What is typed is a value and nothing else, in filters as in distinguished names.
func TestCVE2026_55770_NamesAreLiterals(t *testing.T) {
	m, direct := searching(t, ""), searching(t, `{"binddn":"","groupdn":""}`)
	for _, in := range []string{"a*b", `q(u)o\te,x+y`} {
		for _, m := range []*mount{m, direct} {
			if a := m.enters(in); a.Alias.Name != in {
				t.Errorf("%q is %q", in, a.Alias.Name)
			}
		}
	}
	for _, out := range []string{"*", "a*", "al*", "alice)(uid=*", "*)(objectClass=*", `\61lice`, `\2a`, "alice,ou=people", "alice+cn=Alice Archer", "alice\\", "#alice", "alice\x00", "=alice", "alice;x", `"alice"`, "<alice>"} {
		for _, m := range []*mount{m, direct} {
			m.refused(out, slapd.Password, api.Invalid)
		}
	}
	f := newFake(t)
	f.passwords["cn=reader"] = "reader"
	m = newMount(t)
	m.MustText(api.Write, "config", `{"url":"`+f.url()+`","binddn":"cn=reader","bindpass":"reader","userattr":"uid","userdn":"dc=x","userfilter":"(&(objectClass=person)(uid={{.Username}}))"}`)
	for _, c := range `*()\,+"<>;=#&|!~:/{}` {
		name := "x" + string(c) + "y"
		m.refused(name, "wrong", api.Invalid)
		asked := f.asked()
		if want := "search dc=x (&(objectClass=person)(uid=" + ldap.EscapeFilter(name) + "))"; len(asked) != 3 || asked[1] != want {
			t.Errorf("%q: asked %q", name, asked)
		}
	}
}

// An empty password proves nothing, and the directory is not asked whether it does.
func TestCVE2017_14623_EmptyPasswords(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var asked atomic.Int32
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			asked.Add(1)
			c.Close()
		}
	}()
	for _, settings := range []string{`{"deny_null_bind":false}`, `{"binddn":"","bindpass":"","deny_null_bind":false}`} {
		m := searching(t, settings)
		m.configure(`{"url":"ldap://` + l.Addr().String() + `"}`)
		for _, p := range []string{"", " ", "   ", "\x00", "\x00abc", " \x00", "\t", "\u00a0"} {
			if got := m.refused("alice", p, api.Invalid); !strings.Contains(got, "password") {
				t.Errorf("%q: %s", p, got)
			}
		}
		if len(m.tries.Accounts()) > 0 {
			t.Error("an empty password was looked at")
		}
	}
	if n := asked.Load(); n > 0 {
		t.Errorf("the directory was asked %d times", n)
	}
}

// A name that others have too, or that somebody has among others, is nobody's.
func TestNamesOfSeveral(t *testing.T) {
	for name, c := range map[string]struct{ settings, who string }{
		"two of a name":               {`{}`, "twin"},
		"two with the alias, one":     {`{"userfilter":"(mail={{.Username}})"}`, "twin1@example.com"},
		"two with the alias, other":   {`{"userfilter":"(mail={{.Username}})"}`, "twin2@example.com"},
		"who has two names":           {`{"userattr":"cn","userfilter":"(uid={{.Username}})"}`, "mallory"},
		"whose name another took":     {`{"userattr":"cn","userfilter":"(uid={{.Username}})"}`, "alice"},
		"who took another's, in mail": {`{"userfilter":"(|(uid={{.Username}})(employeeType={{.Username}}))"}`, "alice"},
		"without the attribute":       {`{"userattr":"telephoneNumber","userfilter":"(uid={{.Username}})"}`, "alice"},
	} {
		t.Run(name, func(t *testing.T) {
			searching(t, c.settings).refused(c.who, slapd.Password, api.Invalid)
		})
	}
	a := searching(t, `{"userattr":"mail","userfilter":"(uid={{.Username}})"}`).enters("alice")
	if a.Alias.Name != "alice@example.com" || a.Metadata["username"] != "alice" {
		t.Errorf("alice is %q, called %q", a.Alias.Name, a.Metadata["username"])
	}
}

// A directory that says more than it should is not listened to for ever.
func TestDirectoryThatTalksOn(t *testing.T) {
	f := newFake(t)
	f.passwords["cn=reader"] = "reader"
	f.flood = true
	f.answer = func(string, string) []*ldap.Entry {
		return []*ldap.Entry{ldap.NewEntry("uid=alice,dc=x", map[string][]string{"uid": {"alice"}, "cn": {strings.Repeat("x", 1000)}})}
	}
	m := newMount(t)
	m.MustText(api.Write, "config", `{"url":"`+f.url()+`","binddn":"cn=reader","bindpass":"reader","userattr":"uid","userdn":"dc=x"}`)
	tellsNothing(t, m.refused("alice", "wrong", api.Unavailable))
	f.mu.Lock()
	f.flood = false
	f.mu.Unlock()
	big := strings.Repeat("x", maxHeard)
	f.answer = func(string, string) []*ldap.Entry {
		return []*ldap.Entry{ldap.NewEntry("uid=alice,dc=x", map[string][]string{"uid": {big}})}
	}
	m.refused("alice", "wrong", api.Unavailable)
}

// Where the directory minds capitals, accounts that differ by them are not one person.
func TestDirectoryThatMindsCapitals(t *testing.T) {
	f := newFake(t)
	f.passwords["cn=reader"], f.passwords["uid=Alice,dc=x"], f.passwords["uid=alice,dc=x"] = "reader", "x", "x"
	f.answer = func(_, filter string) []*ldap.Entry {
		name := strings.TrimSuffix(strings.TrimPrefix(filter, "(uid="), ")")
		if !strings.EqualFold(name, "alice") {
			return nil
		}
		return []*ldap.Entry{ldap.NewEntry("uid="+name+",dc=x", map[string][]string{"uid": {name}})}
	}
	m := newMount(t)
	m.MustText(api.Write, "config", `{"url":"`+f.url()+`","binddn":"cn=reader","bindpass":"reader","userattr":"uid","userdn":"dc=x"}`)
	for _, sensitive := range []bool{false, true} {
		m.MustText(api.Write, "config", fmt.Sprintf(`{"case_sensitive_names":%v}`, sensitive))
		for _, name := range []string{"alice", "Alice"} {
			f.asked()
			a, err := m.login(name, "x")
			if err != nil {
				t.Fatal(err)
			}
			want := "alice"
			if sensitive {
				want = name
			}
			if asked := f.asked(); a.Alias.Name != want || asked[2] != "bind uid="+want+",dc=x" {
				t.Errorf("%q is %q, after %q", name, a.Alias.Name, asked)
			}
		}
	}
}

// The stored password is shown to nobody else than whom it was stored for.
func TestBindPassStaysWithItsDirectory(t *testing.T) {
	for _, s := range []string{`"url":"ldap://attacker.example"`, `"insecure_tls":true`, `"starttls":true`, `"certificate":` + quoted(world.directory.CA)} {
		m := searching(t, "")
		if got, kind := m.Text(api.Write, "config", "{"+s+"}"); kind != api.Invalid || !strings.Contains(got, "bindpass") {
			t.Errorf("%.20s: %s (%v)", s, got, kind)
		}
		if got, kind := m.Text(api.Write, "config", `{"bindpass":"",`+s+`}`); kind != api.Invalid {
			t.Errorf("%.20s, with an empty one: %s (%v)", s, got, kind)
		}
		m.MustText(api.Write, "config", `{"bindpass":"known",`+s+`}`)
		m.MustText(api.Write, "config", `{"userattr":"cn","binddn":"cn=other"}`)
		m.MustText(api.Write, "config", `{"binddn":"","url":"ldap://attacker.example"}`)
		m.MustText(api.Write, "config", `{"url":"ldap://127.0.0.1"}`)
	}
}
