package jwt

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

// deciding is a site with a role in CEL.
func deciding(t testing.TB, program m, more m) *site {
	t.Helper()
	s := static(t, nil)
	q := m{"cel_program": program, "bound_audiences": "strongroom"}
	maps.Copy(q, more)
	s.Must(api.Write, "cel/role/c", q)
	return s
}

func (s *site) celLogin(raw string) (*api.Auth, error) {
	s.Helper()
	v, err := s.Do(api.Write, "cel/login", m{"role": "C", "jwt": raw})
	if err != nil {
		return nil, err
	}
	return v.(*api.Auth), nil
}

func TestCELGives(t *testing.T) {
	s := deciding(t, m{
		"variables": []m{{"name": "team", "expression": "claims.teams.filter(t, t.startsWith('eng-'))[0].replace('eng-', '')"}, {"name": "ok", "expression": "claims.n == 5 && now > timestamp('2029-01-01T00:00:00Z')"}},
		"expression": `!ok ? 'not you' : pb.Auth{policies: ['dev', 'team-' + team], display_name: 'ci', metadata: {'team': team}, num_uses: 3,
			alias: logical.Alias{name: claims.sub, metadata: {'a': 'b'}}, group_aliases: [logical.Alias{name: team}],
			lease_options: pb.LeaseOptions{TTL: duration('10m'), renewable: true}, period: 3600000000000, bound_cidrs: ['192.0.2.0/24'], no_default_policy: true}`,
	}, nil)
	got, err := s.celLogin(token(t, m{"teams": []string{"sales", "eng-red"}, "n": 5}))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.TokenPolicies, []string{"dev", "team-red"}) || got.DisplayName != "jwt-ci" || got.Metadata["team"] != "red" || got.Metadata["role"] != "c" ||
		got.Alias.Name != "alice" || got.Alias.Metadata["a"] != "b" || !slices.Equal(got.GroupAliases, []string{"red"}) || got.TTL != 10*time.Minute ||
		got.Period != time.Hour || got.NumUses != 3 || !got.NoDefaultPolicy || !slices.Equal(got.BoundCIDRs, []string{"192.0.2.0/24"}) {
		t.Errorf("%+v %+v", got, got.Alias)
	}
	if a, err := s.celLogin(token(t, m{"teams": []string{"eng-red"}, "n": 6})); err == nil {
		t.Errorf("%+v", a)
	}
	if a, err := s.celLogin(token(t, nil)); err == nil {
		t.Errorf("without the claim: %+v", a)
	}
}

// TestCELRefuses lists programs that let nobody in.
func TestCELRefuses(t *testing.T) {
	for _, expression := range []string{
		"false", "true", "'no'", "1", "null", "claims", "{}", "[pb.Auth{policies: ['a']}]", "logical.Alias{name: 'x'}", "claims.absent ? pb.Auth{} : pb.Auth{}",
		"pb.Auth{policies: ['root']}", "pb.Auth{policies: [' Root']}", "pb.Auth{token_policies: ['root']}", "pb.Auth{policies: ['a ']}", "pb.Auth{policies: ['']}",
		"pb.Auth{alias: logical.Alias{name: ''}}", "pb.Auth{alias: logical.Alias{name: 'a\\u200b'}}", "pb.Auth{group_aliases: [logical.Alias{}]}",
		"pb.Auth{bound_cidrs: ['x']}", "pb.Auth{num_uses: -1}", "pb.Auth{period: 'long'}", "pb.Auth{period: -5}", "pb.Auth{policies: claims.list}", "pb.Auth{metadata: claims.pairs}",
		"claims.many.all(a, claims.many.all(b, claims.many.all(c, claims.many.all(d, a + b + c + d >= 0)))) ? pb.Auth{policies: ['a']} : false",
	} {
		s := deciding(t, m{"expression": expression}, nil)
		many := make([]int, 60)
		if a, err := s.celLogin(token(t, m{"list": []any{1, "x"}, "pairs": m{"a": 1}, "many": many})); err == nil {
			t.Errorf("%s: %+v", expression, a)
		}
	}
}

func TestProgramsThatAreRefused(t *testing.T) {
	s := newSite(t)
	for says, c := range map[string]m{
		"missing required field":    {},
		"cel_program: must":         {"cel_program": m{"expression": 5}},
		"expression: cannot be":     {"cel_program": m{"expression": ""}},
		"line 1, column 1":          {"cel_program": m{"expression": "nope"}},
		"expression: is not a CEL":  {"cel_program": m{"expression": "pb.Auth{client_token: 'x'}"}},
		"expression: is not":        {"cel_program": m{"expression": "pb.Auth{entity_id: 'x'}"}},
		"is not a CEL expression":   {"cel_program": m{"expression": "pb.Auth{policies: 'x'}"}},
		"longer than":               {"cel_program": m{"expression": strings.Repeat("!", maxExpression+1) + "true"}},
		"cel_program.variables: is": {"cel_program": m{"expression": "true", "variables": []m{{"name": "a", "expression": "b"}}}},
		"a name is taken":           {"cel_program": m{"expression": "true", "variables": []m{{"name": "claims", "expression": "1"}}}},
		"is taken, or none":         {"cel_program": m{"expression": "true", "variables": []m{{"name": "a b", "expression": "1"}}}},
		"taken, or none":            {"cel_program": m{"expression": "true", "variables": []m{{"name": "a", "expression": "1"}, {"name": "a", "expression": "1"}}}},
		"more than":                 {"cel_program": m{"expression": "true", "variables": make([]m, maxVariables+1)}},
		"bound_audiences":           {"cel_program": m{"expression": "true"}, "bound_audiences": []string{"a", ""}},
	} {
		s.Refused(api.Write, "cel/role/c", c, api.Invalid, says)
	}
	if _, err := s.Do(api.Patch, "cel/role/c", m{"message": "x"}); api.KindOf(err) != api.NotFound {
		t.Errorf("what is not there was changed: %v", err)
	}
}

func TestCELRolesAreKept(t *testing.T) {
	s := deciding(t, m{"expression": "false"}, m{"message": "go away"})
	if _, err := s.celLogin(token(t, nil)); err == nil || !strings.Contains(err.Error(), "go away") {
		t.Errorf("the role's message is not told: %v", err)
	}
	got := s.Must(api.Patch, "cel/role/C", m{"clock_skew_leeway": "5m"}).(*CELRoleAnswer)
	if got.Message != "go away" || got.ClockSkewLeeway.Std() != 5*time.Minute || string(got.CELProgram) != `{"expression":"false"}` || got.Name != "c" {
		t.Errorf("%+v %s", got, got.CELProgram)
	}
	s.Must(api.Write, "cel/role/b", m{"cel_program": m{"expression": "true"}})
	if keys := s.Must(api.List, "cel/role", nil).(*api.Keys).Keys; !slices.Equal(keys, []string{"b", "c"}) {
		t.Errorf("%v", keys)
	}
	s.Must(api.Delete, "cel/role/c", nil)
	if _, err := s.Do(api.Read, "cel/role/c", nil); api.KindOf(err) != api.NotFound {
		t.Errorf("%v", err)
	}
	_, absent := s.celLogin(token(t, nil))
	s.Must(api.Write, "cel/role/c", m{"cel_program": m{"expression": "false"}, "bound_audiences": "strongroom"})
	_, no := s.celLogin(token(t, nil))
	if absent == nil || no == nil || absent.Error() != no.Error() {
		t.Errorf("the answer tells whether the role is there: %v and %v", absent, no)
	}
}

// TestCELAudience holds aud against a role in CEL as against others.
func TestCELAudience(t *testing.T) {
	s := deciding(t, m{"expression": "pb.Auth{policies: ['a']}"}, nil)
	for aud, want := range map[any]bool{"strongroom": true, "other": false, nil: false} {
		if _, err := s.celLogin(token(t, m{"aud": aud})); (err == nil) != want {
			t.Errorf("aud %v: %v", aud, err)
		}
	}
	s = deciding(t, m{"expression": "pb.Auth{policies: ['a']}"}, m{"bound_audiences": []string{}})
	if _, err := s.celLogin(token(t, nil)); err == nil {
		t.Error("an aud that the role does not name was taken")
	}
}

// TestCELRenewal renews while the role decides as it did.
func TestCELRenewal(t *testing.T) {
	s := deciding(t, m{"expression": "pb.Auth{policies: ['a'], lease_options: pb.LeaseOptions{TTL: duration('5m')}}"}, nil)
	a, err := s.celLogin(token(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	renew := func() (*api.Auth, error) { return s.Engine.Renew(s.Call(), &api.Session{Private: a.Private}) }
	if got, err := renew(); err != nil || got.TTL != 5*time.Minute || !slices.Equal(got.TokenPolicies, []string{"a"}) {
		t.Errorf("%+v, %v", got, err)
	}
	s.Must(api.Patch, "cel/role/c", m{"cel_program": m{"expression": "pb.Auth{policies: ['b']}"}})
	if got, err := renew(); api.KindOf(err) != api.Invalid {
		t.Errorf("by another program: %+v, %v", got, err)
	}
	s.Must(api.Delete, "cel/role/c", nil)
	if got, err := renew(); api.KindOf(err) != api.Invalid {
		t.Errorf("by none: %+v, %v", got, err)
	}
}

func BenchmarkCELLogin(b *testing.B) {
	s := deciding(b, m{"variables": []m{{"name": "team", "expression": "claims.sub"}}, "expression": "team == 'alice' ? pb.Auth{policies: ['a']} : false"}, nil)
	raw := token(b, nil)
	for b.Loop() {
		if _, err := s.celLogin(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLogin(b *testing.B) {
	s := static(b, nil)
	raw := token(b, nil)
	for b.Loop() {
		if _, err := s.login("r", raw); err != nil {
			b.Fatal(err)
		}
	}
}
