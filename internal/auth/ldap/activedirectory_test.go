package ldap

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/test/slapd"
)

// sid is S-1-5-32-544, and sid2 S-1-5-32-545.
const (
	sid  = "\x01\x02\x00\x00\x00\x00\x00\x05\x20\x00\x00\x00\x20\x02\x00\x00"
	sid2 = "\x01\x02\x00\x00\x00\x00\x00\x05\x20\x00\x00\x00\x21\x02\x00\x00"
)

// forest is a fake that answers as Active Directory does, with one account.
func forest(t testing.TB, account map[string][]string) *fake {
	f := newFake(t)
	f.passwords["svc@corp.example"] = "service"
	f.passwords["alice@corp.example"] = slapd.Password
	f.passwords["cn=Alice,dc=corp"] = slapd.Password
	all := map[string][]string{"sAMAccountName": {"Alice"}, "userPrincipalName": {"Alice@Corp.example"}, "userAccountControl": {"512"}, "pwdLastSet": {"1"}, "objectGUID": {"\x00\x01"}}
	for k, v := range account {
		all[k] = v
	}
	f.answer = func(base, filter string) []*ldap.Entry {
		switch {
		case strings.HasPrefix(base, "<SID="):
			return map[string][]*ldap.Entry{"<SID=S-1-5-32-544>": {ldap.NewEntry("cn=Admins,dc=corp", map[string][]string{"cn": {"Admins"}})},
				"<SID=S-1-5-32-545>": {ldap.NewEntry("cn=Users,dc=corp", map[string][]string{"cn": {"Users"}})}}[base]
		case base == "cn=Alice,dc=corp":
			return []*ldap.Entry{ldap.NewEntry(base, map[string][]string{"tokenGroups": {sid, sid2, "junk"}})}
		case strings.Contains(filter, ":=cn=Alice,dc=corp)"):
			return []*ldap.Entry{ldap.NewEntry("cn=Nested,dc=corp", map[string][]string{"cn": {"Nested"}})}
		case strings.Contains(strings.ToLower(filter), "=alice@corp.example)"), strings.Contains(strings.ToLower(filter), "=alice)"):
			return []*ldap.Entry{ldap.NewEntry("cn=Alice,dc=corp", all)}
		}
		return nil
	}
	return f
}

func (f *fake) mount(t testing.TB, more string) *mount {
	m := newMount(t)
	m.MustText(api.Write, "config", `{"url":"`+f.url()+`","binddn":"svc@corp.example","bindpass":"service","userdn":"dc=corp","userattr":"sAMAccountName","groupdn":"dc=corp",
		"groupfilter":"(member:1.2.840.113556.1.4.1941:={{.UserDN}})"}`)
	m.MustText(api.Write, "config", more)
	return m
}

func TestActiveDirectory(t *testing.T) {
	for name, c := range map[string]struct {
		settings, alias string
		groups          []string
	}{
		"nested groups by the rule in chain": {`{}`, "alice", []string{"nested"}},
		"token groups":                       {`{"use_token_groups":true,"groupdn":""}`, "alice", []string{"admins", "users"}},
		"by principal name":                  {`{"upndomain":"corp.example","userattr":"userPrincipalName"}`, "alice@corp.example", []string{"nested"}},
		"the typed name":                     {`{"upndomain":"corp.example","userattr":"userPrincipalName","username_as_alias":true}`, "alice", []string{"nested"}},
		"as themselves":                      {`{"upndomain":"corp.example","binddn":""}`, "alice", []string{"nested"}},
		"as themselves, the typed name":      {`{"upndomain":"corp.example","binddn":"","username_as_alias":true}`, "alice", []string{"nested"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := forest(t, nil)
			f.passwords["Alice@corp.example"] = slapd.Password
			m := f.mount(t, c.settings)
			for _, typed := range []string{"alice", "Alice"} {
				a := m.enters(typed)
				if a.Alias.Name != c.alias || a.Metadata["username"] != "alice" {
					t.Errorf("%s is %q, called %q", typed, a.Alias.Name, a.Metadata["username"])
				}
				same(t, "groups", a.GroupAliases, c.groups)
			}
			asked := strings.Join(f.asked(), "\n")
			if strings.Contains(c.settings, "token_groups") == strings.Contains(asked, "1.2.840.113556.1.4.1941:=cn=Alice,dc=corp") {
				t.Errorf("asked %s", asked)
			}
		})
	}
}

// Names that Active Directory takes for another form than the one that is meant.
func TestPrincipalNamesOfOtherForms(t *testing.T) {
	f := forest(t, nil)
	f.passwords["cn=Alice,dc=corp@corp.example"] = slapd.Password
	f.passwords[`corp\alice@corp.example`] = slapd.Password
	m := f.mount(t, `{"upndomain":"corp.example","binddn":""}`)
	for _, s := range []string{"cn=Alice,dc=corp", `corp\alice`, "alice@other.example", "corp/alice"} {
		m.refused(s, slapd.Password, api.Invalid)
	}
	if asked := f.asked(); len(asked) > 0 {
		t.Errorf("asked %q", asked)
	}
}

// What the directory says of an account holds, though it lets the password in.
func TestAccountsThatAreBanned(t *testing.T) {
	now := time.Now()
	at := func(d time.Duration) []string {
		return []string{itoa(fileTime + now.Add(d).UnixNano()/100)}
	}
	for name, c := range map[string]struct {
		account map[string][]string
		banned  bool
	}{
		"in order":             {nil, false},
		"disabled":             {map[string][]string{"userAccountControl": {"514"}}, true},
		"expired":              {map[string][]string{"accountExpires": at(-time.Minute)}, true},
		"expires later":        {map[string][]string{"accountExpires": at(time.Minute)}, false},
		"never expires":        {map[string][]string{"accountExpires": {"9223372036854775807"}}, false},
		"never expires either": {map[string][]string{"accountExpires": {"0"}}, false},
		"nonsense":             {map[string][]string{"accountExpires": {"x"}, "userAccountControl": {""}}, false},
		"locked in 389ds":      {map[string][]string{"nsAccountLock": {"TRUE"}}, true},
		"locked in OpenLDAP":   {map[string][]string{"pwdAccountLockedTime": {"000001010000Z"}}, true},
		"locked for a while":   {map[string][]string{"pwdAccountLockedTime": {"20260101000000Z"}}, false},
	} {
		for _, settings := range []string{`{}`, `{"upndomain":"corp.example","binddn":""}`} {
			m := forest(t, c.account).mount(t, settings)
			m.With.Now = now
			_, err := m.login("alice", slapd.Password)
			if (err != nil) != c.banned {
				t.Errorf("%s: %v", name, err)
			}
			if c.banned && err != nil && err.Error() != m.refused("alice", "wrong", api.Invalid) {
				t.Errorf("%s: is told of: %v", name, err)
			}
		}
	}
}

func itoa(n int64) string { return strconv.FormatInt(n, 10) }

// What ends renewals: another password, another account of the name, one that is disabled.
func TestRenewalSeesTheAccount(t *testing.T) {
	for name, c := range map[string]struct {
		account map[string][]string
		renewed bool
	}{
		"the same":           {nil, true},
		"another attribute":  {map[string][]string{"userAccountControl": {"66048"}}, true},
		"another password":   {map[string][]string{"pwdLastSet": {"2"}}, false},
		"another account":    {map[string][]string{"objectGUID": {"\x00\x02"}}, false},
		"another name":       {map[string][]string{"sAMAccountName": {"bob"}}, false},
		"disabled":           {map[string][]string{"userAccountControl": {"514"}}, false},
		"of no name anymore": {map[string][]string{"sAMAccountName": {}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			m := forest(t, nil).mount(t, `{"token_policies":"dev"}`)
			a := m.enters("alice")
			m.MustText(api.Write, "config", `{"bindpass":"service","url":"`+forest(t, c.account).url()+`"}`)
			b, err := m.Renew(a)
			if (err == nil) != c.renewed {
				t.Fatalf("renewed: %v", err)
			}
			if err == nil && (len(b.TokenPolicies) != 1 || b.Alias.Name != "alice") {
				t.Errorf("is answered %+v", b)
			}
		})
	}
	m := forest(t, nil).mount(t, `{"userfilter":"(sAMAccountName={{.Username}})"}`)
	a := m.enters("alice")
	m.MustText(api.Write, "config", `{"userattr":"userPrincipalName"}`)
	if _, err := m.Renew(a); api.KindOf(err) != api.Invalid {
		t.Errorf("with another alias: %v", err)
	}
	for _, private := range []string{"", "{}", "null", "x"} {
		if _, err := renew(m.Call(), &api.Session{Private: []byte(private)}); api.KindOf(err) != api.Invalid {
			t.Errorf("%q: %v", private, err)
		}
	}
}
