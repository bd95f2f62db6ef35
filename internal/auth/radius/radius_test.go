package radius

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/authtest"
	"github.com/strongroom/strongroom/test/freeradius"
)

// world is what the tests share: one RADIUS server, which none of them changes.
var world struct{ server *freeradius.Server }

func TestMain(m *testing.M) {
	s, err := freeradius.Start()
	if err != nil {
		panic(err)
	}
	world.server = s
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
	m.With.Attempts = &m.tries
	return m
}

// asking is a mount that asks the tests' server, with more settings, by JSON.
func asking(t testing.TB, more string) *mount {
	t.Helper()
	m := newMount(t)
	m.MustText(api.Write, "config", fmt.Sprintf(`{"host":%q,"port":%d,"secret":%q,"unregistered_user_policies":"guest"}`, world.server.Host, world.server.Port, freeradius.Secret))
	m.MustText(api.Write, "config", more)
	return m
}

func (m *mount) login(name, password string) (*api.Auth, error) {
	m.Helper()
	n, _ := json.Marshal(name)
	p, _ := json.Marshal(password)
	return m.Login("login", fmt.Sprintf(`{"username":%s,"password":%s}`, n, p))
}

func (m *mount) refused(name, password string, kind api.Kind) string {
	m.Helper()
	a, err := m.login(name, password)
	if err == nil {
		m.Fatalf("%q is let in as %q", name, a.Alias.Name)
	}
	if got := api.KindOf(err); got != kind {
		m.Errorf("%q: %v (%v), want %v", name, err, got, kind)
	}
	for _, s := range []string{freeradius.Secret, freeradius.Password, "127.0.0.1"} {
		if strings.Contains(err.Error(), s) {
			m.Errorf("%v tells of %q", err, s)
		}
	}
	return err.Error()
}

func TestWire(t *testing.T) {
	m := newMount(t)
	for _, s := range []struct {
		op         api.Op
		path, body string
		want       string
		kind       api.Kind
	}{
		{api.Read, "config", "", "", api.NotFound},
		{api.Write, "login/alice", `{"password":"x"}`, "", api.Invalid},
		{api.Write, "config", `{"host":"r.example.com"}`, "", api.Invalid},
		{api.Write, "config", `{"secret":"s"}`, "", api.Invalid},
		{api.Write, "config", `{"host":"r.example.com:1812","secret":"s"}`, "", api.Invalid},
		{api.Write, "config", `{"host":"` + strings.Repeat("r", maxHost+1) + `","secret":"s"}`, "", api.Invalid},
		{api.Write, "config", `{"host":"r","secret":"s","port":0}`, "", api.Invalid},
		{api.Write, "config", `{"host":"r","secret":"s","port":65536}`, "", api.Invalid},
		{api.Write, "config", `{"host":"r","secret":"s","read_timeout":0}`, "", api.Invalid},
		{api.Write, "config", `{"host":"r","secret":"s","dial_timeout":"1h"}`, "", api.Invalid},
		{api.Write, "config", `{"host":"r","secret":"s","nas_port":-1}`, "", api.Invalid},
		{api.Write, "config", `{"host":"r","secret":"s","nas_identifier":"` + strings.Repeat("x", maxName+1) + `"}`, "", api.Invalid},
		{api.Write, "config", `{"host":"r","secret":"s","unregistered_user_policies":"a, ROOT"}`, "", api.Invalid},
		{api.Write, "config", `{"host":"r","secret":"s","token_policies":"root"}`, "", api.Invalid},
		{api.Write, "config", `{"host":"::1","secret":"0123456789abcdef","unregistered_user_policies":"b,A","token_ttl":60}`, "null", authtest.Success},
		{api.Write, "users/Alice", `{"policies":"B,a"}`, "null", authtest.Success},
		{api.Read, "users/ALICE", "", `{"policies":["a","b"]}`, authtest.Success},
		{api.Write, "users/bob", `{"policies":[" root"]}`, "", api.Invalid},
		{api.Write, "users/" + strings.Repeat("x", maxName+1), `{}`, "", api.Invalid},
		{api.List, "users", "", `{"keys":["alice"]}`, authtest.Success},
		{api.Delete, "users/alice", "", "null", authtest.Success},
		{api.Delete, "users/alice", "", "null", authtest.Success},
		{api.Read, "users/alice", "", "", api.NotFound},
		{api.List, "users", "", `{"keys":[]}`, authtest.Success},
	} {
		got, kind := m.Text(s.op, s.path, s.body)
		if kind != s.kind || kind == authtest.Success && got != s.want {
			t.Errorf("%s %.30q %.60s: %s %v, want %s %v", s.op, s.path, s.body, got, kind, s.want, s.kind)
		}
	}
	const want = `{"dial_timeout":10,"host":"::1","nas_identifier":"","nas_port":10,"port":1812,"read_timeout":10,"require_message_authenticator":true,"unregistered_user_policies":["a","b"],`
	if got := m.MustText(api.Read, "config", ""); !strings.HasPrefix(got, want) || strings.Contains(got, "abcdef") || !strings.Contains(got, `"token_ttl":60`) {
		t.Errorf("the settings are %s", got)
	}
	m.MustText(api.Write, "config", `{"secret":"short","require_message_authenticator":false}`)
	if w := strings.Join(m.Warnings, "\n"); !strings.Contains(w, "CVE-2024-3596") || !strings.Contains(w, "secret:") {
		t.Errorf("warned of %s", w)
	}
}

func TestLogin(t *testing.T) {
	for _, settings := range []string{`{"token_policies":"all"}`, `{"token_policies":"all","nas_identifier":"vault"}`} {
		m := asking(t, settings)
		m.MustText(api.Write, "users/dave", `{"policies":"daves"}`)
		a, err := m.login("Alice", freeradius.Password)
		if err != nil {
			t.Fatalf("%v\n%s", err, world.server.Output())
		}
		if !slices.Equal(a.TokenPolicies, []string{"all", "guest"}) || a.Alias.Name != "alice" || a.DisplayName != "radius-alice" || a.Metadata["username"] != "alice" ||
			a.Metadata["policies"] != "guest" || a.Renewable || a.Private != nil {
			t.Errorf("is answered %+v", a)
		}
		if a, err = m.login("dave", freeradius.Password); err != nil || !slices.Equal(a.TokenPolicies, []string{"all", "daves"}) {
			t.Errorf("dave has %+v (%v)", a, err)
		}
		if _, err := renew(nil, nil); api.KindOf(err) != api.Invalid {
			t.Errorf("is renewed: %v", err)
		}
		for _, path := range []string{"login/alice", "login/ALICE"} {
			m.MustText(api.Write, path, `{"password":"`+freeradius.Password+`"}`)
		}
		m.MustText(api.Write, "login", `{"urlusername":"alice","password":"`+freeradius.Password+`"}`)
		if got, kind := m.Text(api.Write, "login/alice", `{"username":"dave","password":"`+freeradius.Password+`"}`); kind != api.Invalid {
			t.Errorf("two names: %s (%v)", got, kind)
		}
	}
	m := asking(t, `{"unregistered_user_policies":""}`)
	m.refused("alice", freeradius.Password, api.Invalid)
	m = asking(t, `{"token_bound_cidrs":"10.0.0.0/8"}`)
	m.refused("alice", freeradius.Password, api.Denied)
}

// Two spellings of a name are one person, and are counted as one; two accounts whose
// names differ by case are not both let in.
func TestVault_2_0_3_NamesThatDifferByCase(t *testing.T) {
	m := asking(t, `{}`)
	for _, s := range []string{"alice", "Alice", "ALICE"} {
		if a, err := m.login(s, freeradius.Password); err != nil || a.Alias.Name != "alice" {
			t.Errorf("%q is %+v (%v)", s, a, err)
		}
	}
	if got := slices.Compact(m.tries.Accounts()); len(got) != 1 {
		t.Errorf("counted for %q", got)
	}
	m.refused("Bob", freeradius.Password, api.Invalid)               // the server has Bob, and is asked for bob
	m.refused("carol@example.com", freeradius.Password, api.Invalid) // and calls this one carol
	tried := len(m.tries.Accounts())
	for _, s := range []string{" alice", "alice ", "alice\u00a0", "al\u200bice", "alıce", "\uff41lice", "alice\ufe0f", "alice\u034f", "al\u2173ce", "al  ice", "ju\u0308rgen", "", strings.Repeat("x", maxName+1)} {
		m.refused(s, freeradius.Password, api.Invalid)
	}
	if now := len(m.tries.Accounts()); now != tried { // a directory behind a server may take any of them for alice
		t.Errorf("%d of them were asked for", now-tried)
	}
}

// The answer does not tell whether there is such an account.
func TestAnswersTellNothing(t *testing.T) {
	m := asking(t, `{}`)
	m.MustText(api.Write, "users/alice", `{"policies":"x"}`)
	want := m.refused("alice", "wrong", api.Invalid)
	got := []string{m.refused("nobody", "wrong", api.Invalid), m.refused("dave", "wrong", api.Invalid)}
	m.tries.Lock(true)
	for _, g := range append(got, m.refused("alice", freeradius.Password, api.Invalid), m.refused("nobody", "x", api.Invalid)) {
		if g != want {
			t.Errorf("%q, want %q", g, want)
		}
	}
}

// What cannot be a password is not sent.
func TestPasswordsThatAreNone(t *testing.T) {
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var heard atomic.Int32
	go func() {
		for {
			if _, _, err := l.ReadFrom(make([]byte, 1)); err != nil {
				return
			}
			heard.Add(1)
		}
	}()
	m := asking(t, fmt.Sprintf(`{"port":%d,"secret":"another"}`, l.LocalAddr().(*net.UDPAddr).Port))
	for _, p := range []string{"", " ", "\x00", "x\x00", strings.Repeat("x", maxPassword+1)} {
		m.refused("alice", p, api.Invalid)
	}
	if n := heard.Load(); n > 0 || len(m.tries.Accounts()) > 0 {
		t.Errorf("sent %d packets, looked %d times", n, len(m.tries.Accounts()))
	}
}

func TestServerIsAway(t *testing.T) {
	m := asking(t, `{"secret":"another secret than the server's","read_timeout":"1s"}`)
	m.refused("alice", freeradius.Password, api.Unavailable)
	m.MustText(api.Write, "config", `{"port":1,"secret":"another"}`)
	if got := m.refused("alice", freeradius.Password, api.Unavailable); !strings.Contains(got, "nothing listens") {
		t.Errorf("is told %s", got)
	}
}

// The stored secret hides passwords from whoever is asked: only who knows it changes who that is.
func TestSecretStaysWithItsServer(t *testing.T) {
	m := asking(t, `{}`)
	for _, elsewhere := range []string{`{"host":"localhost"}`, `{"port":1}`, `{"host":"r.example.com","port":1812}`} {
		m.Refused(api.Write, "config", elsewhere, api.Invalid, "secret: must be given again")
	}
	m.MustText(api.Write, "config", fmt.Sprintf(`{"host":%q,"port":%d,"read_timeout":"5s"}`, world.server.Host, world.server.Port)) // all as it was
	if _, err := m.login("alice", freeradius.Password); err != nil {
		t.Errorf("after what was refused: %v", err)
	}
	m.MustText(api.Write, "config", `{"host":"localhost","secret":"another"}`)
}

// A server that does not sign its answers lets nobody in, and whoever runs things is told what it is; until they say that they
// can do without.
func TestServerThatDoesNotSign(t *testing.T) {
	s, err := freeradius.StartUnsigned()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Remove(); err != nil {
			t.Error(err)
		}
	}()
	m := asking(t, fmt.Sprintf(`{"port":%d,"secret":%q,"read_timeout":"1s"}`, s.Port, freeradius.Secret))
	for _, password := range []string{freeradius.Password, "wrong"} {
		if got := m.refused("alice", password, api.Unavailable); !strings.Contains(got, "have no Message-Authenticator") || !strings.Contains(got, "require_message_authenticator=false") {
			t.Errorf("is told %s", got)
		}
	}
	m.MustText(api.Write, "config", `{"require_message_authenticator":false}`)
	if _, err := m.login("alice", freeradius.Password); err != nil {
		t.Error(err)
	}
	m.refused("alice", "wrong", api.Invalid)
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
