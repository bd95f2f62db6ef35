package ldap

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-ldap/ldap/v3"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/authtest"
	"github.com/strongroom/strongroom/test/slapd"
)

// world is what the tests share: one directory, which none of them changes.
var world struct{ directory *slapd.Server }

func TestMain(m *testing.M) {
	s, err := slapd.Start()
	if err != nil {
		panic(err)
	}
	world.directory = s
	status := m.Run()
	if err := s.Remove(); err != nil {
		panic(err)
	}
	os.Exit(status)
}

// mount is a mounted method.
type mount struct {
	*authtest.Mount
	tries authtest.Tries
}

func newMount(t testing.TB) *mount {
	t.Helper()
	m := &mount{Mount: authtest.Open(t, Engine)}
	m.With.Attempts, m.With.Now = &m.tries, time.Now()
	return m
}

// searching is a mount that looks for people in the tests' directory, with more settings, by JSON.
func searching(t testing.TB, more string) *mount {
	t.Helper()
	m := newMount(t)
	m.MustText(api.Write, "config", `{"url":"`+world.directory.URL+`","binddn":"`+slapd.Reader+`","bindpass":"`+slapd.Password+`",
		"userdn":"`+slapd.People+`","userattr":"uid","groupdn":"`+slapd.Groups+`"}`)
	m.configure(more)
	return m
}

// configure changes settings, by JSON; who is asked is not changed without the password.
func (m *mount) configure(settings string) {
	m.Helper()
	if rest, ok := strings.CutPrefix(settings, "{"); ok && !strings.Contains(settings, `"binddn"`) && rest != "}" {
		settings = `{"bindpass":"` + slapd.Password + `",` + rest
	}
	if settings != "" {
		m.MustText(api.Write, "config", settings)
	}
}

func quoted(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}

// login logs in by way of the handler, as the path of a request would be read.
func (m *mount) login(name, password string) (*api.Auth, error) {
	m.Helper()
	c := m.Call()
	auth, err := engine{}.login(c, &LoginRequest{Username: name, Password: api.NewSecret(password)})
	m.Warnings = c.Warnings()
	return auth, err
}

// enters demands that a name logs in.
func (m *mount) enters(name string) *api.Auth {
	m.Helper()
	auth, err := m.login(name, slapd.Password)
	if err != nil {
		m.Fatalf("%q is not let in: %v", name, err)
	}
	return auth
}

// refused demands that a name and password do not log in, and answers what is said.
func (m *mount) refused(name, password string, kind api.Kind) string {
	m.Helper()
	auth, err := m.login(name, password)
	if err == nil {
		m.Fatalf("%q is let in as %q", name, auth.Alias.Name)
	}
	if got := api.KindOf(err); got != kind {
		m.Errorf("%q: %v (%v), want %v", name, err, got, kind)
	}
	return err.Error()
}

func same(t testing.TB, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

// own is a directory that a test may change, and a connection of its root's.
func own(t testing.TB, settings ...string) (*slapd.Server, *ldap.Conn) {
	t.Helper()
	s, err := slapd.Start(settings...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Remove(); err != nil {
			t.Error(err)
		}
	})
	return s, root(t, s)
}

func root(t testing.TB, s *slapd.Server) *ldap.Conn {
	t.Helper()
	c, err := ldap.DialURL(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.Bind(slapd.RootDN, slapd.Password); err != nil {
		t.Fatal(err)
	}
	return c
}

// change replaces an attribute's values.
func change(t testing.TB, c *ldap.Conn, dn, attr string, values ...string) {
	t.Helper()
	q := ldap.NewModifyRequest(dn, nil)
	q.Replace(attr, values)
	if err := c.Modify(q); err != nil {
		t.Fatal(err)
	}
}

// tellsNothing demands that a text holds none of the directory's names and no password.
func tellsNothing(t testing.TB, text string) {
	t.Helper()
	for _, s := range []string{"dc=", "ou=", "cn=", "uid=", slapd.Password, "127.0.0.1"} {
		if strings.Contains(text, s) {
			t.Errorf("%q tells of %q", text, s)
		}
	}
}

// alice is how alice came to the directory.
func alice() *ldap.AddRequest {
	q := ldap.NewAddRequest("uid=alice,"+slapd.People, nil)
	for attr, value := range map[string]string{"objectClass": "inetOrgPerson", "uid": "alice", "cn": "Alice Archer", "sn": "Archer", "userPassword": slapd.Password} {
		q.Attribute(attr, []string{value})
	}
	return q
}

func delRequest(dn string) *ldap.DelRequest { return ldap.NewDelRequest(dn, nil) }

// manage changes an entry that refers elsewhere (RFC 3296).
func manage(dn, attr, value string) *ldap.ModifyRequest {
	q := ldap.NewModifyRequest(dn, []ldap.Control{ldap.NewControlManageDsaIT(true)})
	q.Replace(attr, []string{value})
	return q
}
