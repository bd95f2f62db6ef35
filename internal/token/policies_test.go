package token

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
)

// rootSpellings are forty ways to write root that somebody might take for it.
var rootSpellings = []string{
	"root", "Root", "ROOT", "rOOT", "rooT", "RoOt", "rOoT", " root", "root ", " root ", "\troot", "root\t", "\nroot", "root\n", "root\r\n",
	"\u00a0root", "root\u00a0", "\u2003root", "root\u3000", "root\u200b", "\u200broot", "ro\u200bot", "\ufeffroot", "root\ufeff", "root\u00ad", "r\u00adoot",
	"root\x00", "\x00root", "ro\x00ot", "root\u2060", "root\u200d", "root\u200e", "ｒｏｏｔ", "ＲＯＯＴ", "rｏot", "r oot", "root\v", "root\f", "\u0085root", "ROOT\u200b",
}

// CVE-2025-5999, CVE-2025-54996, CVE-2025-64761: the root policy in another
// spelling. No path but a root token's own create attaches it, and what is
// attached is never a look-alike.
func TestCVE2025_5999(t *testing.T) {
	if len(rootSpellings) < 40 {
		t.Fatalf("only %d spellings", len(rootSpellings))
	}
	f := newFixture(t)
	plain := f.child(f.root, `{"policies":["p"]}`)
	for _, name := range rootSpellings {
		body := `{"policies":[` + string(quoted(name)) + `]}`
		for path, opts := range map[string][]option{"create": nil, "create-orphan": {withSudo}} {
			if resp, _, err := f.write(plain, path, body, opts...); err == nil {
				t.Errorf("%s with %q gave %v", path, name, resp.(*api.Auth).Policies)
			}
			if resp, _, err := f.write(f.root, path, body, in("ns1"), withSudo); err == nil {
				t.Errorf("%s with %q from the parent namespace gave %v", path, name, resp.(*api.Auth).Policies)
			}
		}
		if a, err := f.s.Issue(t.Context(), Spec{Namespace: RootNamespace, Path: "auth/x/login", Auth: api.Auth{TokenPolicies: []string{"p", name}}}); err == nil {
			t.Errorf("a login with %q gave %v", name, a.Policies)
		}
		if resp, _, err := f.write(f.root, "create", body); err == nil && !slices.Equal(resp.(*api.Auth).Policies, []string{"root"}) {
			t.Errorf("a root token with %q gave %v", name, resp.(*api.Auth).Policies)
		}
		// A role is no way around: not by name, not by a glob.
		for _, role := range []string{`{"allowed_policies":[` + string(quoted(name)) + `]}`, `{"allowed_policies_glob":["*"]}`, `{"allowed_policies_glob":["r*"]}`} {
			if _, _, err := f.write(f.root, "roles/r", role); err != nil {
				continue
			}
			for _, b := range []string{body, `{}`} {
				resp, _, err := f.write(plain, "create/r", b)
				if err == nil && slices.ContainsFunc(resp.(*api.Auth).Policies, func(p string) bool { return strings.Contains(p, "oot") }) {
					t.Errorf("role %s with %q gave %v", role, name, resp.(*api.Auth).Policies)
				}
			}
			if _, _, err := f.do(f.root, api.Delete, "roles/r", ""); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func quoted(s string) []byte {
	b := []byte{'"'}
	for _, r := range s {
		b = append(b, '\\', 'u')
		for shift := 12; shift >= 0; shift -= 4 {
			b = append(b, "0123456789abcdef"[r>>shift&15])
		}
	}
	return append(b, '"')
}

func TestPoliciesOfAChild(t *testing.T) {
	f := newFixture(t)
	user := f.child(f.root, `{"policies":["tokuser","p1"]}`)
	bare := f.child(f.root, `{"policies":["tokuser"],"no_default_policy":true}`)
	for _, c := range []struct {
		parent, body string
		sudo         bool
		want         string // policies, or the error after "!"
	}{
		{user, `{}`, false, "default p1 tokuser"},
		{user, `{"policies":["p1"]}`, false, "default p1"},
		{user, `{"policies":[" P1 "]}`, false, "default p1"},
		{user, `{"policies":["p1","p1","P1"]}`, false, "default p1"},
		{user, `{"policies":["p2"]}`, false, "!child policies must be subset of parent"},
		{user, `{"policies":["root"]}`, false, "!child policies must be subset of parent"},
		{user, `{"policies":["root"]}`, true, "!root tokens may not be created without parent token being root"},
		{user, `{"policies":["p2"]}`, true, "default p2"},
		{user, `{"no_default_policy":true}`, false, "p1 tokuser"},
		{user, `{"policies":["p1"],"no_default_policy":true}`, false, "p1"},
		{bare, `{}`, false, "tokuser"},
		{bare, `{"policies":["tokuser"]}`, false, "tokuser"},
		{bare, `{"policies":["default"]}`, false, "!child policies must be subset of parent"},
		{user, `{"policies":[""]}`, false, "default"}, // what an unset variable leaves: the least, never the parent's
		{user, `{"policies":[" "],"no_default_policy":true}`, false, ""},
		{f.root, `{}`, false, "root"},
		{f.root, `{"policies":[""]}`, false, "default"},
		{f.root, `{"policies":[" ",""]}`, false, "default"},
		{f.root, `{"policies":","}`, false, "default"},
		{f.root, `{"policies":["root","x"]}`, false, "root"},
		{f.root, `{"policies":["default"],"no_default_policy":true}`, false, ""},
		{user, `{"period":"1h"}`, false, "!root or sudo privileges required to create periodic token"},
		{user, `{"id":"abc"}`, false, "!root or sudo privileges required to specify token id"},
		{user, `{"no_parent":true}`, false, "!root or sudo privileges required to create orphan token"},
		{user, `{"num_uses":-1}`, false, "!number of uses cannot be negative"},
		{user, `{"ttl":"-1h"}`, false, "!ttl must be positive"},
		{user, `{"explicit_max_ttl":"-1h"}`, false, "!explicit_max_ttl must be positive"},
		{user, `{"period":"-1h"}`, false, "!period must be positive"},
		{user, `{"type":"foo"}`, false, "!invalid 'token_type' value"},
		{user, `{"entity_alias":"x"}`, false, "!'entity_alias' is only allowed in combination with token role"},
		{f.root, `{"type":"batch"}`, false, "!batch tokens cannot be root tokens"},
		{user, `{"type":"batch","num_uses":2}`, false, `!batch tokens cannot have "num_uses" set`},
		{user, `{"type":"batch","explicit_max_ttl":"1h"}`, false, `!batch tokens cannot have "explicit_max_ttl" set`},
		{user, `{"type":"batch","period":"1h"}`, true, `!batch tokens cannot have "period" set`},
	} {
		opts := []option{}
		// The gate grants a root token sudo everywhere.
		if c.sudo || c.parent == f.root {
			opts = append(opts, withSudo)
		}
		resp, _, err := f.write(c.parent, "create", c.body, opts...)
		got := ""
		if err != nil {
			got = "!" + err.Error()
		} else {
			got = strings.Join(resp.(*api.Auth).Policies, " ")
		}
		if got != c.want {
			t.Errorf("create %s: %q; want %q", c.body, got, c.want)
		}
	}
}

func TestExpiringRootMakesNoLastingRoot(t *testing.T) {
	f := newFixture(t)
	short := f.child(f.root, `{"policies":["root"],"ttl":"1h"}`)
	_, _, err := f.write(short, "create", `{}`)
	f.refuses(api.Invalid, "expiring root tokens cannot create non-expiring root tokens", err)
	f.child(short, `{"policies":["root"],"ttl":"2h"}`)
	f.child(short, `{"policies":["default"]}`)
}

func TestUseLimitedAndBatchTokensHaveNoChildren(t *testing.T) {
	f := newFixture(t)
	_, _, err := f.write(f.child(f.root, `{"policies":["p"],"num_uses":2}`), "create", `{}`)
	f.refuses(api.Invalid, "restricted use token cannot generate child tokens", err)
	_, _, err = f.write(f.child(f.root, `{"policies":["p"],"num_uses":1}`), "create", `{}`)
	f.refuses(api.Invalid, "parent token lookup failed: no parent found", err)
	batch := f.child(f.root, `{"policies":["p"],"type":"batch"}`)
	_, _, err = f.write(batch, "create", `{}`)
	f.refuses(api.Invalid, "batch tokens cannot create more tokens", err)
	_, _, err = f.write(batch, "renew-self", `{}`)
	f.refuses(api.Invalid, "batch tokens cannot be renewed", err)
	_, _, err = f.write(batch, "revoke-self", `{}`)
	f.refuses(api.Invalid, "batch tokens cannot be revoked", err)
	_, _, err = f.write(f.root, "revoke", `{"token":"`+batch+`"}`)
	f.refuses(api.Invalid, "batch tokens cannot be revoked", err)
	l := f.describe(batch)
	if l.Type != Batch || l.Accessor != "" || l.Renewable || l.ExpireTime == nil {
		t.Errorf("unexpected answer %+v", l)
	}
}

// CVE-2026-40264: a token or accessor of another namespace answers exactly as
// one that does not exist, and nothing happens to it.
func TestCVE2026_40264(t *testing.T) {
	f := newFixture(t)
	auths := map[string]*api.Auth{
		RootNamespace: f.create(f.root, `{"policies":["p"]}`),
		"ns1":         f.create(f.root, `{"policies":["p"]}`, in("ns1"), withSudo),
		"ns2":         f.create(f.root, `{"policies":["p"]}`, in("ns2"), withSudo),
	}
	before := len(f.keys())
	for here, opt := range map[string]option{RootNamespace: func(*api.Call) {}, "ns1": in("ns1"), "ns2": in("ns2")} {
		for there, a := range auths {
			if here == there {
				continue
			}
			for _, path := range []string{"lookup", "renew", "revoke", "revoke-orphan"} {
				f.sameAsUnknown(t, opt, path, "token", a.ClientToken.Reveal(), newText(there))
			}
			for _, path := range []string{"lookup-accessor", "renew-accessor", "revoke-accessor"} {
				f.sameAsUnknown(t, opt, path, "accessor", a.Accessor, newAccessor(there))
				// Nor does the suffix of this namespace make it known here.
				bare, _, _ := strings.Cut(a.Accessor, ".")
				f.sameAsUnknown(t, opt, path, "accessor", withNamespace(bare, here), newAccessor(here))
			}
		}
	}
	for _, a := range auths {
		f.mustBe(a.ClientToken.Reveal(), true)
	}
	if after := len(f.keys()); after != before {
		t.Errorf("%d rows became %d", before, after)
	}
	if l, _, err := f.write(f.root, "lookup-accessor", `{"accessor":"`+auths["ns1"].Accessor+`"}`, in("ns1")); err != nil || l.(*LookupAnswer).NamespacePath != "ns1/" {
		t.Errorf("in its own namespace: %v", err)
	}
}

func (f *fixture) sameAsUnknown(t *testing.T, opt option, path, field, real, unknown string) {
	t.Helper()
	r1, c1, err1 := f.write(f.root, path, `{"`+field+`":"`+real+`"}`, opt, withSudo)
	r2, c2, err2 := f.write(f.root, path, `{"`+field+`":"`+unknown+`"}`, opt, withSudo)
	same := (err1 == nil) == (err2 == nil) && slices.Equal(c1.Warnings(), c2.Warnings())
	if err1 != nil && err2 != nil {
		same = same && err1.Error() == err2.Error() && api.KindOf(err1) == api.KindOf(err2)
	}
	if !same || r1 != nil && r2 == nil {
		t.Errorf("%s tells a foreign %s from an unknown one: %v, %v", path, field, err1, err2)
	}
}

func TestBatchTokenDiesWithItsParent(t *testing.T) {
	f := newFixture(t)
	parent := f.child(f.root, `{"policies":["p"],"ttl":"1h"}`)
	batch := f.child(parent, `{"type":"batch","ttl":"2h"}`)
	orphan := f.child(parent, `{"type":"batch","ttl":"2h","no_parent":true}`, withSudo)
	f.mustBe(batch, true)
	if err := f.revoke(parent); err != nil {
		t.Fatal(err)
	}
	f.mustBe(batch, false)
	f.mustBe(orphan, true)
	flipped := []byte(orphan)
	flipped[20] ^= 1
	f.mustBe(string(flipped), false)
	f.mustBe(withChecksum(string(flipped[:len(flipped)-checksumLen])), false)
	f.now = f.now.Add(2 * 3600e9)
	f.mustBe(orphan, false)
}

func TestRoles(t *testing.T) {
	f := newFixture(t)
	user := f.child(f.root, `{"policies":["tokuser","p1"]}`)
	role := func(name, body string) {
		t.Helper()
		if _, _, err := f.write(f.root, "roles/"+name, body); err != nil {
			t.Fatalf("role %s: %v", name, err)
		}
	}
	role("r1", `{}`)
	role("r2", `{"allowed_policies":"p1,p2","orphan":true,"token_period":"1h","token_explicit_max_ttl":"2h","path_suffix":"v.1","token_num_uses":5,"token_bound_cidrs":["127.0.0.1/32","10.0.0.0/8"],"renewable":false}`)
	role("r3", `{"disallowed_policies":"p1","token_type":"batch","orphan":true,"renewable":false}`)
	role("r5", `{"disallowed_policies_glob":"p*","allowed_policies_glob":"q*"}`)
	for _, c := range []struct{ role, body, want string }{
		{"r1", `{}`, "default p1 tokuser"},
		{"r1", `{"policies":["p3"]}`, "!child policies must be subset of parent"},
		{"R1", `{"policies":["p1"]}`, "default p1"},
		{"r2", `{}`, "default p1 p2"},
		{"r2", `{"policies":["p3"]}`, "!token policies must be subset of the role's allowed policies"},
		{"r3", `{}`, "!a token policy is disallowed by this role"},
		{"r3", `{"policies":["p2"]}`, "default p2"},
		{"r5", `{}`, "default"},
		{"r5", `{"policies":["q2"]}`, "default q2"},
		{"r5", `{"policies":["p2"]}`, "!token policies must be subset of the role's allowed policies"},
		{"none", `{}`, "!unknown role"},
	} {
		got := ""
		if resp, _, err := f.write(user, "create/"+c.role, c.body); err != nil {
			got = "!" + err.Error()
		} else {
			got = strings.Join(resp.(*api.Auth).Policies, " ")
		}
		if got != c.want {
			t.Errorf("create/%s %s: %q; want %q", c.role, c.body, got, c.want)
		}
	}
	for body, message := range map[string]string{
		`{"token_type":"zzz"}`:                 "invalid 'token_type' value",
		`{"token_type":"batch"}`:               "'token_type' cannot be 'batch' when role is set to generate non-orphan tokens",
		`{"token_type":"batch","orphan":true}`: "'token_type' cannot be 'batch' when role is set to generate renewable tokens",
		`{"path_suffix":"a b?"}`:               `given role path suffix contains invalid characters; must match \w[\w-.]+\w`,
		`{"token_period":"-2h"}`:               "token_period, token_explicit_max_ttl and token_num_uses cannot be negative",
		`{"bound_cidrs":"zzz"}`:                "error parsing bound_cidrs: not an address or a range of addresses",
		`{"allowed_policies":["ro\u200bot"]}`:  "policies: a name is malformed",
		`{"allowed_policies":["p*"]}`:          "policies: a name is malformed",
	} {
		_, _, err := f.write(f.root, "roles/bad", body)
		f.refuses(api.Invalid, message, err)
	}
	keys, _, err := f.do(f.root, api.List, "roles", "")
	if err != nil || !slices.Equal(keys.(*api.Keys).Keys, []string{"r1", "r2", "r3", "r5"}) {
		t.Errorf("roles are %v, %v", keys, err)
	}
	resp, _, err := f.do(f.root, api.Read, "roles/r2", "")
	if a := resp.(*RoleAnswer); err != nil || a.TokenPeriod.Seconds() != 3600 || a.Period != 0 || a.TokenNumUses != 5 || a.TokenType != "default-service" {
		t.Errorf("role is %+v, %v", resp, err)
	}
}

// A token of a role has the role's terms, the lesser of what both say, and
// cannot be renewed once the role is gone.
func TestTermsOfARole(t *testing.T) {
	f := newFixture(t)
	if _, _, err := f.write(f.root, "roles/r", `{"token_period":"1h","token_explicit_max_ttl":"2h","token_num_uses":50,"path_suffix":"v.1"}`); err != nil {
		t.Fatal(err)
	}
	resp, c, err := f.write(f.root, "create/r", `{"policies":["p"],"period":"30m","explicit_max_ttl":"1h","num_uses":30}`)
	if err != nil {
		t.Fatal(err)
	}
	a := resp.(*api.Auth)
	want := []string{
		"Explicit max TTL specified both during creation call and in role; using the lesser value of 3600 seconds",
		"Period specified both during creation call and in role; using the lesser value of 1800 seconds",
	}
	if a.TTL.Seconds() != 1800 || a.NumUses != 30 || !slices.Equal(c.Warnings(), want) {
		t.Errorf("TTL %v, uses %d, warnings %q", a.TTL, a.NumUses, c.Warnings())
	}
	text := a.ClientToken.Reveal()
	if l := f.describe(text); l.Role != "r" || l.Path != "auth/token/create/r/v.1" {
		t.Errorf("role %q, path %q", l.Role, l.Path)
	}
	f.now = f.now.Add(29 * 60e9)
	if resp, _, err = f.write(text, "renew-self", `{"increment":"5h"}`); err != nil || resp.(*api.Auth).TTL.Seconds() != 1800 {
		t.Errorf("renewal: %v", err)
	}
	f.now = f.now.Add(29 * 60e9)
	if resp, _, err = f.write(text, "renew-self", ``); err != nil || resp.(*api.Auth).TTL.Seconds() != 120 {
		t.Errorf("renewal near the explicit maximum: %v", err)
	}
	if _, _, err := f.do(f.root, api.Delete, "roles/r", ""); err != nil {
		t.Fatal(err)
	}
	_, _, err = f.write(text, "renew-self", ``)
	f.refuses(api.Invalid, "original token role could not be found, not renewing", err)
}

// A token names so many policies and no more, however it is made: each once, so that
// repeating a name costs nothing.
func TestPoliciesAreBounded(t *testing.T) {
	f := newFixture(t)
	names := make([]string, 0, 2*(maxPolicies+1))
	for i := range maxPolicies + 1 {
		names = append(names, fmt.Sprintf("p%d", i), fmt.Sprintf("P%d", i))
	}
	text := func(names []string) string {
		b, err := json.Marshal(names)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	few, many := names[:2*maxPolicies], names
	spec := Spec{Namespace: RootNamespace, Path: "auth/x/login"}
	for _, c := range []struct {
		names []string
		ok    bool
	}{{few, true}, {many, false}} {
		if _, _, err := f.write(f.root, "roles/r", `{"allowed_policies":`+text(c.names)+`}`); err != nil {
			t.Fatal(err)
		}
		spec.Auth.TokenPolicies = c.names
		_, login := f.s.Issue(t.Context(), spec)
		_, _, child := f.write(f.root, "create", `{"no_default_policy":true,"policies":`+text(c.names)+`}`)
		_, _, byRole := f.write(f.root, "create/r", `{"no_default_policy":true}`)
		for how, err := range map[string]error{"login": login, "create": child, "role": byRole} {
			if c.ok && err != nil || !c.ok && (api.KindOf(err) != api.Invalid || !strings.Contains(err.Error(), "more than 1000")) {
				t.Errorf("%s of %d: %v", how, len(c.names)/2, err)
			}
		}
	}
}
