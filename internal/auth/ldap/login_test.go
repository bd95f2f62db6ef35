package ldap

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/authtest"
	"github.com/strongroom/strongroom/test/slapd"
)

func TestLogin(t *testing.T) {
	m := searching(t, `{"token_policies":"all","token_ttl":"1h"}`)
	m.MustText(api.Write, "users/ALICE", `{"policies":"personal","groups":"Extra"}`)
	m.MustText(api.Write, "groups/engineers", `{"policies":"build"}`)
	m.MustText(api.Write, "groups/extra", `{"policies":"more"}`)
	m.MustText(api.Write, "groups/Staff", `{"policies":"not-hers"}`)
	a := m.enters("alice")
	same(t, "policies", a.TokenPolicies, []string{"all", "build", "more", "personal"})
	same(t, "groups", a.GroupAliases, []string{"engineers", "extra", "wheel"})
	if a.Alias.Name != "alice" || a.DisplayName != "ldap-alice" || a.Metadata["username"] != "alice" || !a.Renewable || a.TTL != time.Hour {
		t.Errorf("is answered %+v", a)
	}
	if strings.Contains(string(a.Private), slapd.Password) {
		t.Error("the password is kept")
	}
	if b := m.enters("bob"); b.Alias.Name != "bob" || len(b.GroupAliases) != 1 { // memberUid is Bob there, and minds capitals
		t.Errorf("bob is %+v in %q", b.Alias, b.GroupAliases)
	}
	wrong := m.refused("alice", "wrong", api.Invalid)
	tellsNothing(t, wrong)
}

// Whoever binds as the name they must have is asked about as themselves, and cannot be
// asked about again.
func TestLoginWithoutAnAccountToSearch(t *testing.T) {
	m := newMount(t)
	m.refused("alice", slapd.Password, api.Invalid) // there are no settings
	m.MustText(api.Write, "config", `{"url":"`+world.directory.URL+`","userattr":"uid"}`)
	if got := m.refused("alice", slapd.Password, api.Invalid); !strings.Contains(got, "userdn") {
		t.Errorf("without userdn it says %q", got)
	}
	m.MustText(api.Write, "config", `{"userdn":"`+slapd.People+`"}`)
	a := m.enters("ALICE")
	if a.Alias.Name != "alice" || a.Renewable {
		t.Errorf("is answered %+v", a)
	}
	if b := m.enters("bOB"); b.Alias.Name != "bob" {
		t.Errorf("bob is %+v", b.Alias)
	}
	if _, err := m.Renew(a); err == nil {
		t.Error("is renewed though nobody can look")
	}
	m.refused("alice", "wrong", api.Invalid)
	m.refused("nobody", "wrong", api.Invalid)
	if twin := m.enters("twin"); twin.Alias.Name != "twin" { // there is one right below userdn
		t.Errorf("twin is %+v", twin.Alias)
	}
	m.MustText(api.Write, "config", `{"userattr":"cn"}`)
	m.refused("alice", slapd.Password, api.Invalid)
}

// Where anybody may look, nobody is bound to do so.
func TestLoginThroughADirectoryThatIsOpen(t *testing.T) {
	m := newMount(t)
	m.MustText(api.Write, "config", `{"url":"`+world.directory.URL+`","userattr":"uid","userdn":"`+slapd.Lobby+`","discoverdn":true}`)
	a := m.enters("dora")
	if a.Alias.Name != "dora" || !a.Renewable {
		t.Errorf("is answered %+v", a)
	}
	if _, err := m.Renew(a); err != nil {
		t.Error(err)
	}
	m.refused("dora", "wrong", api.Invalid)
	m.refused("alice", slapd.Password, api.Invalid)
}

func TestGroups(t *testing.T) {
	for name, c := range map[string]struct {
		settings, who string
		want          []string
	}{
		"members":                 {`{}`, "alice", []string{"engineers", "wheel"}},
		"as the directory spells": {`{"case_sensitive_names":true}`, "alice", []string{"Engineers", "wheel"}},
		"in pages":                {`{"max_page_size":1}`, "alice", []string{"engineers", "wheel"}},
		"nested, by the person":   {`{"groupdn":"` + slapd.People + `","groupfilter":"({{.UserAttr}}={{.Username}})","groupattr":"memberOf"}`, "alice", []string{"engineers", "staff"}},
		"no filter":               {`{"groupfilter":""}`, "alice", nil},
		"nowhere to look":         {`{"groupdn":""}`, "alice", nil},
		"by names in a DN":        {`{"groupattr":"entryDN"}`, "alice", []string{"engineers", "wheel"}},
		"by names in a CN=":       {`{"groupattr":"entryDN","use_pre111_group_cn_behavior":true,"groupfilter":"(memberUid={{.Username}})"}`, "alice", []string{"cn=wheel,ou=groups,dc=example,dc=com"}},
		"without the attribute":   {`{"groupattr":"description"}`, "alice", []string{"engineers", "wheel"}},
		"a name like another's":   {`{}`, "mallory", []string{"cn=wheel,ou=groups"}},
		"a name in the DN":        {`{}`, `q(u)o\te,x+y`, []string{"engineers"}},
		"nobody may look":         {`{"anonymous_group_search":true,"groupdn":"` + slapd.Lobby + `"}`, "alice", nil},
	} {
		t.Run(name, func(t *testing.T) {
			same(t, "groups", searching(t, c.settings).enters(c.who).GroupAliases, c.want)
		})
	}
	m := searching(t, `{"groupdn":"ou=absent,`+slapd.Base+`"}`)
	if got := m.refused("alice", slapd.Password, api.Unavailable); !strings.Contains(got, "groupdn") {
		t.Errorf("without a place it says %q", got)
	}
}

// A renewal is a login without the password: what has changed ends it.
func TestRenewalAsksAgain(t *testing.T) {
	s, c := own(t)
	m := newMount(t)
	m.MustText(api.Write, "config", `{"url":"`+s.URL+`","binddn":"`+slapd.Reader+`","bindpass":"`+slapd.Password+`","userdn":"`+slapd.People+`","userattr":"uid","groupdn":"`+slapd.Groups+`"}`)
	m.MustText(api.Write, "groups/engineers", `{"policies":"build"}`)
	a := m.enters("alice")
	policies := func() []string {
		t.Helper()
		b, err := m.Renew(a)
		if err != nil {
			t.Fatal(err)
		}
		return b.TokenPolicies
	}
	same(t, "at first", policies(), []string{"build"})
	change(t, c, "cn=Engineers,"+slapd.Groups, "member", "uid=Bob,"+slapd.People)
	same(t, "out of the group", policies(), nil)
	change(t, c, "uid=alice,"+slapd.People, "sn", "Married")
	policies()
	change(t, c, "uid=alice,"+slapd.People, "uid", "alice", "alicia")
	gone := func(why string) {
		t.Helper()
		if _, err := m.Renew(a); api.KindOf(err) != api.Invalid {
			t.Errorf("%s: %v", why, err)
		}
	}
	gone("two names")
	change(t, c, "uid=alice,"+slapd.People, "uid", "alice")
	policies()
	q := alice()
	if err := c.Del(delRequest(q.DN)); err != nil {
		t.Fatal(err)
	}
	gone("deleted")
	if err := c.Add(q); err != nil {
		t.Fatal(err)
	}
	m.enters("alice")
	gone("another of that name")
}

func TestLoginFromElsewhere(t *testing.T) {
	m := searching(t, `{"token_bound_cidrs":"10.0.0.0/8"}`)
	m.refused("alice", slapd.Password, api.Denied)
	if len(m.tries.Accounts()) > 0 {
		t.Error("the password was looked at")
	}
}

func TestTLS(t *testing.T) {
	d := world.directory
	other, _ := own(t, "TLSVerifyClient demand")
	ca := func(s *slapd.Server) string { return `"certificate":` + quoted(s.CA) }
	for name, c := range map[string]struct {
		settings string
		kind     api.Kind
	}{
		"ldaps":                      {`{"url":"` + d.SecureURL + `",` + ca(d) + `}`, authtest.Success},
		"ldaps, by name":             {`{"url":"` + strings.Replace(d.SecureURL, "127.0.0.1", "localhost", 1) + `",` + ca(d) + `}`, authtest.Success},
		"starttls":                   {`{"starttls":true,` + ca(d) + `}`, authtest.Success},
		"tls 1.3 alone":              {`{"url":"` + d.SecureURL + `","tls_min_version":"tls13",` + ca(d) + `}`, authtest.Success},
		"tls 1.2 alone":              {`{"url":"` + d.SecureURL + `","tls_max_version":"tls12",` + ca(d) + `}`, authtest.Success},
		"of another authority":       {`{"url":"` + d.SecureURL + `",` + ca(other) + `}`, api.Unavailable},
		"starttls, of another":       {`{"starttls":true,` + ca(other) + `}`, api.Unavailable},
		"of the system's":            {`{"url":"` + d.SecureURL + `"}`, api.Unavailable},
		"any certificate":            {`{"url":"` + d.SecureURL + `","insecure_tls":true}`, authtest.Success},
		"tls where there is none":    {`{"url":"` + strings.Replace(d.URL, "ldap:", "ldaps:", 1) + `",` + ca(d) + `}`, api.Unavailable},
		"none where there is tls":    {`{"url":"` + strings.Replace(d.SecureURL, "ldaps:", "ldap:", 1) + `","connection_timeout":"1s","request_timeout":"1s"}`, api.Unavailable},
		"without our certificate":    {`{"url":"` + other.SecureURL + `",` + ca(other) + `}`, api.Unavailable},
		"with a stranger's":          {`{"url":"` + other.SecureURL + `",` + ca(other) + `,"client_tls_cert":` + quoted(d.Cert) + `,"client_tls_key":` + quoted(d.Key) + `}`, api.Unavailable},
		"with our certificate":       {`{"url":"` + other.SecureURL + `",` + ca(other) + `,"client_tls_cert":` + quoted(other.Cert) + `,"client_tls_key":` + quoted(other.Key) + `}`, authtest.Success},
		"the second server answers":  {`{"url":"ldap://127.0.0.1:1,` + d.URL + `"}`, authtest.Success},
		"the first has a wrong name": {`{"url":"` + d.SecureURL + `,` + d.URL + `"}`, authtest.Success},
	} {
		t.Run(name, func(t *testing.T) {
			m := searching(t, c.settings)
			_, err := m.login("alice", slapd.Password)
			if kind := api.KindOf(err); err == nil && c.kind != authtest.Success || err != nil && kind != c.kind {
				t.Errorf("%v, want %v", err, c.kind)
			}
			if err != nil {
				tellsNothing(t, err.Error())
			}
		})
	}
}

func TestVersionsOfTLS(t *testing.T) {
	for _, s := range []string{`{}`, `{"tls_min_version":"tls13"}`, `{"tls_max_version":"tls12"}`} {
		m := searching(t, s)
		cfg, err := settings(stored(m.Call()))
		if err != nil {
			t.Fatal(err)
		}
		c, err := cfg.tls("x")
		if err != nil || c.MinVersion != tlsVersion(cfg.TLSMin) || c.MaxVersion != tlsVersion(cfg.TLSMax) || c.ServerName != "x" || c.InsecureSkipVerify || c.MinVersion < tls.VersionTLS12 {
			t.Errorf("%s: %d to %d for %q (%v)", s, c.MinVersion, c.MaxVersion, c.ServerName, err)
		}
	}
}

// A directory that is away, hangs or has other passwords is told of as such, to all alike.
func TestDirectoryIsAway(t *testing.T) {
	s, c := own(t)
	m := searching(t, `{"url":"`+s.URL+`","connection_timeout":"2s","request_timeout":"2s"}`)
	a := m.enters("alice")
	change(t, c, slapd.Reader, "userPassword", "changed")
	told := m.refused("alice", slapd.Password, api.Unavailable)
	if !strings.Contains(told, "binddn") {
		t.Errorf("it says %q", told)
	}
	tellsNothing(t, told)
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	told = m.refused("alice", slapd.Password, api.Unavailable)
	if m.refused("nobody", "wrong", api.Unavailable) != told {
		t.Error("it tells who is there")
	}
	tellsNothing(t, told)
	if _, err := m.Renew(a); api.KindOf(err) != api.Unavailable {
		t.Errorf("renewed: %v", err)
	}
	deaf, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	m.configure(`{"url":"ldap://` + deaf.Addr().String() + `"}`)
	m.refused("alice", slapd.Password, api.Unavailable)
	m.configure(`{"url":"ldaps://` + deaf.Addr().String() + `"}`)
	m.refused("alice", slapd.Password, api.Unavailable)
}

// Who no longer waits is not waited for.
func TestLoginIsGivenUp(t *testing.T) {
	deaf, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer deaf.Close()
	m := searching(t, `{"url":"ldap://`+deaf.Addr().String()+`"}`)
	ctx, cancel := context.WithCancel(t.Context())
	call := m.Call()
	call.Context = ctx
	ended := make(chan error, 1)
	go func() {
		_, err := engine{}.login(call, &LoginRequest{Username: "alice", Password: api.NewSecret("x")})
		ended <- err
	}()
	conn, err := deaf.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cancel()
	select {
	case err := <-ended:
		if err == nil {
			t.Error("was let in")
		}
	case <-time.After(20 * time.Second):
		t.Error("the login goes on")
	}
}

// What a directory refers to is not asked.
func TestReferralsAreNotFollowed(t *testing.T) {
	elsewhere, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer elsewhere.Close()
	var asked atomic.Int32
	go func() {
		for {
			c, err := elsewhere.Accept()
			if err != nil {
				return
			}
			asked.Add(1)
			c.Close()
		}
	}()
	s, c := own(t)
	target := "ldap://" + elsewhere.Addr().String() + "/" + slapd.People
	if err := c.Modify(manage("ou=elsewhere,"+slapd.People, "ref", target)); err != nil {
		t.Fatal(err)
	}
	m := searching(t, `{"url":"`+s.URL+`"}`)
	m.enters("alice")
	m.MustText(api.Write, "config", `{"userdn":"ou=elsewhere,`+slapd.People+`"}`)
	m.refused("alice", slapd.Password, api.Unavailable)
	m.MustText(api.Write, "config", `{"binddn":""}`)
	m.refused("alice", slapd.Password, api.Invalid)
	if n := asked.Load(); n > 0 {
		t.Errorf("asked elsewhere %d times", n)
	}
}
