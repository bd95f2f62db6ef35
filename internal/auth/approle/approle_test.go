package approle

import (
	"bytes"
	"fmt"
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

func TestLogin(t *testing.T) {
	d := open(t)
	id := d.role("CI", `{"token_policies":" Dev,ops","token_ttl":"10m","token_bound_cidrs":"10.0.0.0/8"}`)
	sid, _ := d.secret("ci", `{"metadata":"{\"team\":\"x\",\"role_name\":\"other\"}"}`)
	a, kind := d.login(id, sid)
	if kind != authtest.Success {
		t.Fatal(kind)
	}
	if !slices.Equal(a.TokenPolicies, []string{"dev", "ops"}) || a.TTL != 10*time.Minute || a.Alias.Name != id || a.Metadata["team"] != "x" || a.Metadata["role_name"] != "ci" ||
		a.DisplayName != "approle" || !a.Renewable || !slices.Equal(a.BoundCIDRs, []string{"10.0.0.0/8"}) {
		t.Errorf("%+v", a)
	}
	sid2, _ := d.secret("ci", `{"metadata":"team=y, stage = a=b"}`)
	if a, _ := d.login(id, sid2); a == nil || a.Metadata["team"] != "y" || a.Metadata["stage"] != "a=b" {
		t.Errorf("of metadata by name and value: %+v", a)
	}
	for name, c := range map[string][2]string{"another secret id": {id, "x"}, "another role": {"x", sid}, "no secret id": {id, ""}, "no role": {"", sid}, "swapped": {sid, id}, "neither": {"x", "y"}, "not even a secret id": {"x", ""}} {
		if _, kind := d.login(c[0], c[1]); kind != api.Invalid {
			t.Errorf("%s: %v", name, kind)
		}
	}
	d.from("11.0.0.1")
	if _, kind := d.login(id, sid); kind != api.Denied {
		t.Errorf("from elsewhere: %v", kind)
	}
}

// Whether a role is there is not told.
func TestAnswersDoNotTell(t *testing.T) {
	d := open(t)
	id := d.role("ci", `{}`)
	gone, _ := d.secret("ci", `{"ttl":"1s"}`)
	message := func(role, secret string) string {
		_, err := d.Login("login", map[string]string{"role_id": role, "secret_id": secret})
		return fmt.Sprint(err)
	}
	d.With.Now = d.With.Now.Add(time.Minute)
	for _, secret := range []string{"", "wrong", gone} {
		if a, b := message(id, secret), message("nobody", secret); a != b || a == "<nil>" {
			t.Errorf("secret id %.5q: a role that is there is told %q, one that is not %q", secret, a, b)
		}
	}
}

// CVE-2023-24999: an accessor is of one role, and no other's administrator can use it.
func TestCVE_2023_24999_AccessorsOfOtherRoles(t *testing.T) {
	d := open(t)
	idA := d.role("a", `{}`)
	d.role("b", `{}`)
	sid, accessor := d.secret("a", `{}`)
	for _, op := range []string{"lookup", "destroy"} {
		if _, kind := d.ask(api.Write, "role/b/secret-id-accessor/"+op, `{"secret_id_accessor":"`+accessor+`"}`); kind != api.NotFound {
			t.Errorf("%s by another role: %v", op, kind)
		}
		if out, _ := d.ask(api.Write, "role/b/secret-id/"+op, `{"secret_id":"`+sid+`"}`); out != nil {
			t.Errorf("%s by another role: %v", op, out)
		}
	}
	if _, kind := d.login(idA, sid); kind != authtest.Success {
		t.Error("the secret id is gone")
	}
	if out := d.must(api.Write, "role/a/secret-id-accessor/lookup", `{"secret_id_accessor":"`+accessor+`"}`); out["secret_id_accessor"] != accessor {
		t.Errorf("%v", out)
	}
	d.must(api.Delete, "role/a/secret-id-accessor/destroy", `{"secret_id_accessor":"`+accessor+`"}`)
	if _, kind := d.login(idA, sid); kind != api.Invalid || d.rows("accessor/") != 0 || d.rows("secret/") != 0 {
		t.Errorf("after its end: %v, %d rows", kind, d.rows(""))
	}
}

// A role that takes the name of a removed one has none of its secret ids, nor do they
// stay in the store.
func TestNameTakenAgain(t *testing.T) {
	d := open(t)
	id := d.role("ci", `{"role_id":"fixed"}`)
	sid, accessor := d.secret("ci", `{"ttl":"1h"}`)
	a, _ := d.login(id, sid)
	d.must(api.Delete, "role/ci", "")
	if d.rows("secret/")+d.rows("accessor/")+d.rows("gone/")+d.rows("id/") != 0 {
		t.Errorf("the removed role has left rows")
	}
	d.role("ci", `{"role_id":"fixed"}`)
	if _, kind := d.login(id, sid); kind != api.Invalid {
		t.Errorf("the old secret id: %v", kind)
	}
	if _, kind := d.ask(api.Write, "role/ci/secret-id-accessor/lookup", `{"secret_id_accessor":"`+accessor+`"}`); kind != api.NotFound {
		t.Errorf("the old accessor: %v", kind)
	}
	if _, err := d.Engine.Renew(d.Call(), &api.Session{Private: a.Private}); api.KindOf(err) != api.Invalid {
		t.Errorf("a token of the old role renews: %v", err)
	}
}

func TestRenew(t *testing.T) {
	d := open(t)
	id := d.role("ci", `{"token_policies":"dev"}`)
	sid, _ := d.secret("ci", `{}`)
	a, _ := d.login(id, sid)
	d.must(api.Write, "role/ci", `{"token_policies":"other","token_ttl":"7m"}`)
	got, err := d.Engine.Renew(d.Call(), &api.Session{Private: a.Private})
	if err != nil || got.TTL != 7*time.Minute || got.TokenPolicies[0] != "other" { // the token store refuses for other policies
		t.Errorf("%+v, %v", got, err)
	}
}

// A secret id with k uses lets in exactly k of many at once.
func TestUsesAreExact(t *testing.T) {
	for trial := range 20 {
		d := open(t)
		id := d.role("ci", `{}`)
		const uses = 5
		sid, _ := d.secret("ci", `{"num_uses":5}`)
		var in atomic.Int64
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() {
				resp, err := engine{}.login(d.Call(), &Login{RoleID: id, SecretID: api.NewSecret(sid)})
				switch {
				case err == nil && resp != nil:
					in.Add(1)
				case api.KindOf(err) != api.Invalid:
					t.Errorf("trial %d: %v", trial, err)
				}
			})
		}
		wg.Wait()
		if in.Load() != uses {
			t.Fatalf("trial %d: %d were let in, want %d", trial, in.Load(), uses)
		}
		if n := d.rows("secret/") + d.rows("accessor/"); n != 0 {
			t.Errorf("%d rows are left", n)
		}
	}
}

func TestExpiry(t *testing.T) {
	d := open(t)
	id := d.role("ci", `{"secret_id_ttl":"1h"}`)
	sid, _ := d.secret("ci", `{"ttl":"30m"}`)
	for range 70 {
		d.secret("ci", `{"ttl":"20m"}`)
	}
	long, _ := d.secret("ci", `{}`)
	if len(d.asked) != 72 || !d.asked[0].After(d.With.Now.Add(30*time.Minute)) {
		t.Errorf("upkeep was asked for %d times, first at %v", len(d.asked), d.asked[0])
	}
	d.With.Now = d.With.Now.Add(30*time.Minute - 1)
	if _, kind := d.login(id, sid); kind != authtest.Success {
		t.Errorf("before its end: %v", kind)
	}
	d.With.Now = d.With.Now.Add(1)
	if _, kind := d.login(id, sid); kind != api.Invalid {
		t.Errorf("at its end: %v", kind)
	}
	if err := d.Engine.Upkeep(t.Context(), d.With.Store, d.With.Now.Add(time.Second+time.Nanosecond)); err != nil {
		t.Fatal(err)
	}
	if d.rows("due/") > 2 || d.rows("secret/") > 2 || d.rows("secret/") != d.rows("accessor/") {
		t.Errorf("left: %d due, %d secret ids, %d accessors", d.rows("due/"), d.rows("secret/"), d.rows("accessor/"))
	}
	if _, kind := d.login(id, long); kind != authtest.Success {
		t.Errorf("another one: %v", kind)
	}
}

func TestLimitsOfSecretIDs(t *testing.T) {
	d := open(t)
	d.role("ci", `{"secret_id_num_uses":3,"secret_id_ttl":"1h","secret_id_bound_cidrs":["10.0.0.0/8"],"token_bound_cidrs":["10.1.0.0/16"]}`)
	for body, want := range map[string]api.Kind{
		`{}`: authtest.Success, `{"num_uses":3,"ttl":"1h"}`: authtest.Success, `{"num_uses":4}`: api.Invalid, `{"num_uses":0}`: api.Invalid, `{"ttl":"0"}`: api.Invalid, `{"ttl":"61m"}`: api.Invalid, `{"ttl":-1}`: api.Invalid,
		`{"cidr_list":"10.2.0.0/16"}`: authtest.Success, `{"cidr_list":"11.0.0.0/8"}`: api.Invalid, `{"cidr_list":"0.0.0.0/0"}`: api.Invalid, `{"token_bound_cidrs":["10.1.2.3"]}`: authtest.Success, `{"token_bound_cidrs":["10.0.0.0/8"]}`: api.Invalid,
		`{"metadata":"{\"a\":\"b\"}"}`: authtest.Success, `{"metadata":"[]"}`: api.Invalid, `{"metadata":"{\"a\":1}"}`: api.Invalid,
		`{"metadata":"a=b, c = d=e ,f="}`: authtest.Success, `{"metadata":"a"}`: api.Invalid, `{"metadata":"=b"}`: api.Invalid, `{"metadata":" "}`: authtest.Success,
	} {
		if _, kind := d.ask(api.Write, "role/ci/secret-id", body); kind != want {
			t.Errorf("%s: %v, want %v", body, kind, want)
		}
	}
	for body, want := range map[string]api.Kind{`{}`: api.Invalid, `{"secret_id":"mine"}`: authtest.Success, `{"secret_id":"mine","num_uses":1}`: api.Invalid} {
		if body == `{"secret_id":"mine","num_uses":1}` {
			d.must(api.Write, "role/ci/custom-secret-id", `{"secret_id":"twice"}`)
			body = `{"secret_id":"twice"}`
		}
		if _, kind := d.ask(api.Write, "role/ci/custom-secret-id", body); kind != want {
			t.Errorf("custom %s: %v, want %v", body, kind, want)
		}
	}
}

// The addresses of a secret id hold for its logins, and those of its tokens for its
// tokens, as far as the role still has them.
func TestAddresses(t *testing.T) {
	d := open(t)
	id := d.role("ci", `{"secret_id_bound_cidrs":["10.0.0.0/8"],"token_bound_cidrs":["10.0.0.0/8"]}`)
	sid, _ := d.secret("ci", `{"cidr_list":"10.1.0.0/16","token_bound_cidrs":["10.1.2.0/24"]}`)
	for from, want := range map[string]api.Kind{"10.1.0.1": authtest.Success, "10.2.0.1": api.Denied, "11.0.0.1": api.Denied, "::ffff:10.1.0.1": authtest.Success} {
		d.from(from)
		a, kind := d.login(id, sid)
		if kind != want || a != nil && !slices.Equal(a.BoundCIDRs, []string{"10.1.2.0/24"}) {
			t.Errorf("from %s: %v %+v", from, kind, a)
		}
	}
	d.from("10.1.0.1")
	d.must(api.Write, "role/ci/token-bound-cidrs", `{"token_bound_cidrs":["10.1.0.0/20"]}`)
	if a, kind := d.login(id, sid); kind != authtest.Success || a.BoundCIDRs[0] != "10.1.2.0/24" {
		t.Errorf("a role that still has them: %v %+v", kind, a)
	}
	d.must(api.Write, "role/ci/token-bound-cidrs", `{"token_bound_cidrs":["10.1.0.1/32"]}`)
	if _, kind := d.login(id, sid); kind != api.Denied {
		t.Errorf("a role that has them no more: %v", kind)
	}
}

func TestRoles(t *testing.T) {
	d := open(t)
	for body, want := range map[string]api.Kind{
		`{}`: authtest.Success, `{"bind_secret_id":false}`: api.Invalid, `{"bind_secret_id":false,"token_bound_cidrs":"10.0.0.0/8"}`: authtest.Success, `{"token_policies":"RooT"}`: api.Invalid,
		`{"policies":["root"]}`: api.Invalid, `{"secret_id_num_uses":-1}`: api.Invalid, `{"secret_id_bound_cidrs":"x"}`: api.Invalid, `{"token_type":"batch","token_num_uses":1}`: api.Invalid,
		`{"role_id":"` + string(bytes.Repeat([]byte("x"), 257)) + `"}`: api.Invalid,
	} {
		if _, kind := d.ask(api.Write, "role/r", body); kind != want {
			t.Errorf("%s: %v, want %v", body, kind, want)
		}
		d.must(api.Delete, "role/r", "")
	}
	d.role("a", `{"role_id":"one"}`)
	d.role("b", `{}`)
	if _, kind := d.ask(api.Write, "role/b/role-id", `{"role_id":"one"}`); kind != api.Invalid {
		t.Errorf("another role's id: %v", kind)
	}
	d.must(api.Write, "role/a/role-id", `{"role_id":"two"}`)
	d.must(api.Write, "role/b/role-id", `{"role_id":"one"}`)
	sid, _ := d.secret("a", `{}`)
	if _, kind := d.login("one", sid); kind != api.Invalid {
		t.Errorf("by the id that is another's now: %v", kind)
	}
	if _, kind := d.login("two", sid); kind != authtest.Success {
		t.Errorf("by the new id: %v", kind)
	}
	if _, kind := d.ask(api.Write, "role/a", `{"local_secret_ids":true}`); kind != api.Invalid {
		t.Errorf("local_secret_ids of a role that is there: %v", kind)
	}
	if out, _ := d.ask(api.List, "role", `{"limit":1}`); fmt.Sprint(out["keys"]) != "[a]" {
		t.Errorf("listed: %v", out)
	}
	id := d.role("open", `{"bind_secret_id":false,"secret_id_bound_cidrs":"10.0.0.0/8"}`)
	if _, kind := d.login(id, ""); kind != authtest.Success {
		t.Errorf("without a secret id: %v", kind)
	}
	d.from("11.0.0.1")
	if _, kind := d.login(id, ""); kind != api.Denied {
		t.Errorf("without a secret id, from elsewhere: %v", kind)
	}
}

func TestFields(t *testing.T) {
	d := open(t)
	d.role("r", `{}`)
	for _, f := range []struct{ path, field, body, want, back string }{
		{"policies", "token_policies", `{"token_policies":"a,b"}`, "[a b]", "[]"},
		{"policies", "policies", `{"policies":["c"]}`, "[c]", "<nil>"},
		{"bound-cidr-list", "bound_cidr_list", `{"bound_cidr_list":"10.0.0.0/8"}`, "[10.0.0.0/8]", "<nil>"},
		{"secret-id-bound-cidrs", "secret_id_bound_cidrs", `{"secret_id_bound_cidrs":"10.0.0.0/9"}`, "[10.0.0.0/9]", "<nil>"},
		{"token-bound-cidrs", "token_bound_cidrs", `{"token_bound_cidrs":["::1"]}`, "[::1]", "[]"},
		{"secret-id-num-uses", "secret_id_num_uses", `{"secret_id_num_uses":"7"}`, "7", "0"},
		{"secret-id-ttl", "secret_id_ttl", `{"secret_id_ttl":"7m"}`, "420", "0"},
		{"token-num-uses", "token_num_uses", `{"token_num_uses":7}`, "7", "0"},
		{"token-ttl", "token_ttl", `{"token_ttl":"7m"}`, "420", "0"},
		{"token-max-ttl", "token_max_ttl", `{"token_max_ttl":"7m"}`, "420", "0"},
		{"period", "token_period", `{"period":"7m"}`, "420", "0"},
	} {
		at := "role/r/" + f.path
		d.must(api.Write, at, f.body)
		if got := fmt.Sprint(d.must(api.Read, at, "")[f.field]); got != f.want {
			t.Errorf("%s after %s: %s", f.path, f.body, got)
		}
		d.must(api.Delete, at, "")
		if got := fmt.Sprint(d.must(api.Read, at, "")[f.field]); got != f.back {
			t.Errorf("%s after DELETE: %s", f.path, got)
		}
		if _, kind := d.ask(api.Write, at, `{}`); kind != api.Invalid {
			t.Errorf("%s without a value: %v", f.path, kind)
		}
		if _, kind := d.ask(api.Write, "role/none/"+f.path, f.body); kind != api.NotFound {
			t.Errorf("%s of no role: %v", f.path, kind)
		}
	}
	if _, kind := d.ask(api.Write, "role/r/bind-secret-id", `{"bind_secret_id":false}`); kind != api.Invalid {
		t.Errorf("a role without any bound: %v", kind)
	}
	d.must(api.Write, "role/r/token-bound-cidrs", `{"token_bound_cidrs":"10.0.0.0/8"}`)
	d.must(api.Write, "role/r/bind-secret-id", `{"bind_secret_id":false}`)
	d.must(api.Delete, "role/r/bind-secret-id", "")
	if got := d.must(api.Read, "role/r/bind-secret-id", ""); got["bind_secret_id"] != true {
		t.Errorf("bind_secret_id after DELETE: %v", got)
	}
}

// The store holds no secret id, and no accessor in a key.
func TestNothingInTheClear(t *testing.T) {
	d := open(t)
	d.role("ci", `{}`)
	sid, accessor := d.secret("ci", `{"ttl":"1h","num_uses":2}`)
	d.must(api.Write, "role/ci/custom-secret-id", `{"secret_id":"my very own"}`)
	es, err := d.With.Store.List(t.Context(), store.Range{})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range es {
		for _, text := range []string{sid, "my very own"} {
			if bytes.Contains(append([]byte(e.Key), e.Value...), []byte(text)) {
				t.Errorf("row %q has a secret id", e.Key)
			}
		}
		if bytes.Contains([]byte(e.Key), []byte(accessor)) {
			t.Errorf("row %q is named for an accessor", e.Key)
		}
	}
}

func TestListSecrets(t *testing.T) {
	d := open(t)
	d.role("ci", `{}`)
	var all []string
	for range 25 {
		_, a := d.secret("ci", `{}`)
		all = append(all, a)
	}
	var got []string
	for after := ""; ; {
		keys := d.Must(api.List, "role/ci/secret-id", `{"limit":10,"after":"`+after+`"}`).(*api.Keys).Keys
		got = append(got, keys...)
		if len(keys) < 10 {
			break
		}
		after = keys[len(keys)-1]
	}
	slices.Sort(all)
	slices.Sort(got)
	if !slices.Equal(got, all) {
		t.Errorf("%d were listed, want %d", len(got), len(all))
	}
}

func FuzzMetadata(f *testing.F) {
	f.Add(`{"a":"b"}`)
	f.Add(`null`)
	f.Fuzz(func(t *testing.T, text string) {
		if m, err := parseMetadata(text); err == nil && len(m) > len(text) || err != nil && api.KindOf(err) != api.Invalid {
			t.Errorf("%q: %v, %v", text, m, err)
		}
	})
}

func FuzzContains(f *testing.F) {
	f.Add("10.0.0.0/8", "10.1.2.3")
	f.Add("::/0", "::ffff:1.2.3.4/127")
	f.Fuzz(func(t *testing.T, outer, inner string) {
		if contains(outer, inner) && !api.Within(prefix(inner).Addr(), []string{outer}) {
			t.Errorf("%q is said to lie in %q", inner, outer)
		}
	})
}

// What a request lacks is told with what to send.
func TestWhatIsMissing(t *testing.T) {
	d := open(t)
	d.role("ci", `{}`)
	for path, says := range map[string]string{"login": "missing role_id; send", "role/ci/role-id": "missing role_id; send", "role/ci/secret-id/lookup": "missing secret_id; send", "role/ci/custom-secret-id": "missing secret_id; send",
		"role/ci/secret-id-accessor/destroy": "missing secret_id_accessor; send", "role/ci/secret-id-ttl": "missing secret_id_ttl; send"} {
		if got, kind := d.Text(api.Write, path, `{}`); kind != api.Invalid || !strings.Contains(got, says) {
			t.Errorf("%s: %s (%v)", path, got, kind)
		}
	}
	if got, kind := d.Text(api.Write, "login", `{"role_id":"x"}`); kind != api.Invalid || !strings.Contains(got, "missing secret_id; send") {
		t.Errorf("a login without a secret id: %s (%v)", got, kind)
	}
}

// What is not there can be deleted; who would do something else with it is told.
func TestRoleThatIsNotThere(t *testing.T) {
	d := open(t)
	for _, field := range []string{"policies", "bound-cidr-list", "secret-id-bound-cidrs", "token-bound-cidrs", "bind-secret-id", "secret-id-num-uses", "secret-id-ttl", "token-num-uses", "token-ttl", "token-max-ttl", "period"} {
		if got, kind := d.Text(api.Delete, "role/none/"+field, ""); kind != authtest.Success {
			t.Errorf("%s: %s (%v)", field, got, kind)
		}
	}
	for path, body := range map[string]string{"policies": `{"token_policies":"a"}`, "role-id": `{"role_id":"a"}`, "secret-id": `{}`, "custom-secret-id": `{"secret_id":"a"}`, "secret-id/lookup": `{"secret_id":"a"}`,
		"secret-id/destroy": `{"secret_id":"a"}`, "secret-id-accessor/destroy": `{"secret_id_accessor":"a"}`} {
		if got, kind := d.Text(api.Write, "role/none/"+path, body); kind != api.NotFound || !strings.Contains(got, "the role does not exist") {
			t.Errorf("%s: %s (%v)", path, got, kind)
		}
	}
	if got := d.MustText(api.List, "role", ""); got != `{"keys":[]}` {
		t.Errorf("there is %s", got)
	}
}
