package jwt

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/authtest"
)

func TestLogin(t *testing.T) {
	s := static(t, m{"groups_claim": "/realm/roles", "claim_mappings": m{"team": "squad", "/realm/name": "realm"}, "token_ttl": "10m",
		"bound_claims": m{"team": []string{"red", "blue"}}})
	got, err := s.login("R", token(t, m{"team": "blue", "realm": m{"roles": []string{"b", "a", "b"}, "name": "x"}}))
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"role": "r", "squad": "blue", "realm": "x"}
	if got.Alias.Name != "alice" || got.DisplayName != "jwt-alice" || got.TTL != 10*time.Minute || !slices.Equal(got.TokenPolicies, []string{"dev"}) ||
		!slices.Equal(got.GroupAliases, []string{"a", "b"}) || got.LoginRole != "r" || !maps.Equal(got.Metadata, want) || !maps.Equal(got.Alias.Metadata, want) {
		t.Errorf("%+v, alias %+v", got, got.Alias)
	}
}

// A login that names no role is by the configuration's, for quotas too.
func TestRoleOfALogin(t *testing.T) {
	role := func(s *site, named string) string {
		t.Helper()
		by, err := (&LoginRequest{Role: api.Name(named)}).LoginRole(s.Call())
		if err != nil {
			t.Fatal(err)
		}
		return by
	}
	s := newSite(t)
	if by := role(s, ""); by != "" {
		t.Errorf("without a configuration it is by %q", by)
	}
	s = static(t, nil)
	if by := role(s, ""); by != "" {
		t.Errorf("without a usual role it is by %q", by)
	}
	s.Must(api.Write, "config", m{"jwt_validation_pubkeys": []string{authtest.PEM(t, keyring().rsa.Public())}, "bound_issuer": "https://issuer.example", "default_role": "R"})
	if by := role(s, ""); by != "r" {
		t.Errorf("without a name it is by %q", by)
	}
	if by := role(s, "other"); by != "other" {
		t.Errorf("by name it is by %q", by)
	}
	if a, err := s.login("", token(t, nil)); err != nil || a.LoginRole != "r" {
		t.Errorf("logs in as %+v, %v", a, err)
	}
}

// TestClaimsOfARole holds tokens against what roles want: what is not wanted, is absent or of
// another type is refused.
func TestClaimsOfARole(t *testing.T) {
	for name, c := range map[string]struct {
		role, token m
		ok          bool
	}{
		"as it is":                      {nil, nil, true},
		"subject":                       {m{"bound_subject": "alice"}, nil, true},
		"other subject":                 {m{"bound_subject": "bob"}, nil, false},
		"subject by case":               {m{"bound_subject": "Alice"}, nil, false},
		"subject is a list":             {m{"bound_subject": "alice"}, m{"sub": []string{"alice"}}, false},
		"claim":                         {m{"bound_claims": m{"a": "x"}}, m{"a": "x"}, true},
		"claim absent":                  {m{"bound_claims": m{"a": "x"}}, nil, false},
		"claim null":                    {m{"bound_claims": m{"a": "x"}}, m{"a": []any{nil}}, false},
		"one of a list":                 {m{"bound_claims": m{"a": "x"}}, m{"a": []string{"w", "x"}}, true},
		"empty list":                    {m{"bound_claims": m{"a": "x"}}, m{"a": []string{}}, false},
		"nested list":                   {m{"bound_claims": m{"a": "x"}}, m{"a": [][]string{{"x"}}}, false},
		"object":                        {m{"bound_claims": m{"a": "x"}}, m{"a": m{"x": "x"}}, false},
		"both claims":                   {m{"bound_claims": m{"a": "x", "b": "y"}}, m{"a": "x", "b": "z"}, false},
		"truth":                         {m{"bound_claims": m{"a": true}}, m{"a": true}, true},
		"untruth":                       {m{"bound_claims": m{"a": true}}, m{"a": false}, false},
		"truth as text":                 {m{"bound_claims": m{"a": true}}, m{"a": "true"}, false},
		"number":                        {m{"bound_claims": m{"a": 5}}, m{"a": 5}, true},
		"number as text":                {m{"bound_claims": m{"a": 5}}, m{"a": "5"}, false},
		"fraction is not cut":           {m{"bound_claims": m{"a": 5}}, m{"a": 5.9}, false},
		"number otherwise":              {m{"bound_claims": m{"a": 5}}, m{"a": 5.0}, true},
		"large numbers differ":          {m{"bound_claims": m{"a": 9007199254740993}}, m{"a": 9007199254740992}, false},
		"glob":                          {m{"bound_claims_type": "glob", "bound_claims": m{"a": "repo:org/*:ref"}}, m{"a": "repo:org/app:ref"}, true},
		"glob matches no other":         {m{"bound_claims_type": "glob", "bound_claims": m{"a": "repo:org/*:ref"}}, m{"a": "repo:other/app:ref"}, false},
		"star of a token is none":       {m{"bound_claims_type": "glob", "bound_claims": m{"a": "x"}}, m{"a": "*"}, false},
		"star without glob":             {m{"bound_claims": m{"a": "*"}}, m{"a": "x"}, false},
		"glob wants texts":              {m{"bound_claims_type": "glob", "bound_claims": m{"a": "5*"}}, m{"a": 51}, false},
		"pointer":                       {m{"bound_claims": m{"/a/0/b~1c": "x"}}, m{"a": []any{m{"b/c": "x"}}}, true},
		"pointer past the end":          {m{"bound_claims": m{"/a/1": "x"}}, m{"a": []any{"x"}}, false},
		"pointer with a leading zero":   {m{"bound_claims": m{"/a/00": "x"}}, m{"a": []any{"x"}}, false},
		"user is a number":              {nil, m{"sub": 7}, false},
		"user is empty":                 {nil, m{"sub": ""}, false},
		"user ends in space":            {nil, m{"sub": "alice "}, false},
		"user has what is not seen":     {nil, m{"sub": "ali\u200bce"}, false},
		"user is too long":              {nil, m{"sub": strings.Repeat("a", maxName+1)}, false},
		"user by pointer":               {m{"user_claim": "/a/b", "user_claim_json_pointer": true}, m{"a": m{"b": "x"}}, true},
		"user that begins with a slash": {m{"user_claim": "/a/b"}, m{"a": m{"b": "x"}}, false},
		"groups absent":                 {m{"groups_claim": "groups"}, nil, false},
		"groups are numbers":            {m{"groups_claim": "groups"}, m{"groups": []int{1}}, false},
		"groups too many":               {m{"groups_claim": "groups"}, m{"groups": make([]string, maxGroups+1)}, false},
		"metadata is no text":           {m{"claim_mappings": m{"a": "b"}}, m{"a": 1}, false},
		"metadata absent":               {m{"claim_mappings": m{"a": "b"}}, nil, true},
		"metadata too long":             {m{"claim_mappings": m{"a": "b"}}, m{"a": strings.Repeat("a", maxMetadata+1)}, false},
		"role for people":               {m{"role_type": "oidc", "allowed_redirect_uris": "https://a.example/"}, nil, false},
	} {
		s := static(t, c.role)
		_, err := s.login("r", token(t, c.token))
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && !strings.Contains(err.Error(), "no such role") {
			t.Errorf("%s: the answer tells that the role is there: %v", name, err)
		}
	}
}

// TestCVE_2024_5798 holds audiences of tokens against those of roles.
func TestCVE_2024_5798(t *testing.T) {
	for name, c := range map[string]struct {
		role, aud any
		ok        bool
	}{
		"text":                   {"strongroom", "strongroom", true},
		"one of a list":          {"strongroom", []string{"other", "strongroom"}, true},
		"one of the role's":      {"other,strongroom", "strongroom", true},
		"another":                {"strongroom", "other", false},
		"by case":                {"strongroom", "Strongroom", false},
		"part":                   {"strongroom", "strong", false},
		"more":                   {"strongroom", "strongroom.evil.example", false},
		"star":                   {"strongroom", "*", false},
		"empty text":             {"strongroom", "", false},
		"empty list":             {"strongroom", []string{}, false},
		"absent":                 {"strongroom", nil, false},
		"list in a list":         {"strongroom", []any{[]string{"strongroom"}}, false},
		"number":                 {"strongroom", 1, false},
		"list with a number":     {"strongroom", []any{"strongroom", 1}, false},
		"role wants none":        {nil, "strongroom", false},
		"role wants none, list":  {nil, []string{"strongroom"}, false},
		"neither":                {nil, nil, true},
		"role wants none, empty": {nil, []string{}, true},
	} {
		s := static(t, m{"bound_audiences": c.role, "bound_subject": "alice"})
		if _, err := s.login("r", token(t, m{"aud": c.aud})); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := newSite(t)
	for _, list := range []any{[]string{""}, []string{"a", ""}} {
		s.Refused(api.Write, "role/r", ordinary(m{"bound_audiences": list}), api.Invalid, "bound_audiences")
	}
}

func TestTimesOfAToken(t *testing.T) {
	at := func(d time.Duration) int64 { return authtest.Epoch.Add(d).Unix() }
	none := m{"iat": nil, "exp": nil}
	for name, c := range map[string]struct {
		role, token m
		ok          bool
	}{
		"none at all":                 {nil, none, false},
		"expired within the skew":     {nil, m{"exp": at(-59 * time.Second)}, true},
		"expired":                     {nil, m{"exp": at(-60 * time.Second)}, false},
		"expired, without skew":       {m{"clock_skew_leeway": "-1s"}, m{"exp": at(0)}, false},
		"about to, without skew":      {m{"clock_skew_leeway": -1}, m{"exp": at(time.Second)}, true},
		"a longer skew":               {m{"clock_skew_leeway": 120}, m{"exp": at(-119 * time.Second)}, true},
		"not yet":                     {nil, m{"nbf": at(61 * time.Second)}, false},
		"not yet, within the skew":    {nil, m{"nbf": at(60 * time.Second)}, true},
		"issued in the future":        {nil, m{"iat": at(61 * time.Second)}, false},
		"iat alone":                   {nil, m{"exp": nil, "iat": at(-209 * time.Second)}, true},
		"iat alone, too old":          {nil, m{"exp": nil, "iat": at(-210 * time.Second)}, false},
		"iat alone, own leeway":       {m{"expiration_leeway": 600}, m{"exp": nil, "iat": at(-650 * time.Second)}, true},
		"iat alone, no leeway":        {m{"expiration_leeway": -1}, m{"exp": nil, "iat": at(-60 * time.Second)}, false},
		"nbf alone":                   {nil, m{"exp": nil, "iat": nil, "nbf": at(-100 * time.Second)}, true},
		"exp alone, far":              {nil, m{"iat": nil, "exp": at(time.Hour)}, false},
		"exp alone, near":             {nil, m{"iat": nil, "exp": at(200 * time.Second)}, true},
		"exp is a text":               {nil, m{"exp": "9999999999"}, false},
		"exp is null":                 {nil, m{"exp": []any{nil}}, false},
		"exp is negative":             {nil, m{"exp": -1}, false},
		"exp has a fraction":          {nil, m{"exp": float64(at(100*time.Second)) + 0.5}, true},
		"age of the login":            {m{"max_age": 600}, m{"auth_time": at(-600 * time.Second)}, true},
		"the login is too long ago":   {m{"max_age": 600}, m{"auth_time": at(-661 * time.Second)}, false},
		"the login's time is unknown": {m{"max_age": 600}, nil, false},
	} {
		s := static(t, c.role)
		if _, err := s.login("r", token(t, c.token)); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := static(t, nil)
	for _, exp := range []string{"1e400", "1e30", "99999999999999999999999999999999999", "-0", "0"} {
		raw := authtest.Sign(t, "RS256", keyring().rsa, "", `{"iss":"https://issuer.example","sub":"alice","aud":"strongroom","exp":`+exp+`}`)
		if _, err := s.login("r", raw); err == nil {
			t.Errorf("exp %s was let in", exp)
		}
	}
}

// TestWhatARoleMayNotBe checks the limits of roles.
func TestWhatARoleMayNotBe(t *testing.T) {
	s := newSite(t)
	for says, role := range map[string]m{
		"role_type":                 ordinary(m{"role_type": "x"}),
		"user_claim":                ordinary(m{"user_claim": nil}),
		"bound constraint":          ordinary(m{"bound_audiences": nil}),
		"allowed_redirect_uris":     ordinary(m{"role_type": nil}),
		"bound_claims_type":         ordinary(m{"bound_claims_type": "regex"}),
		"bound_claims:":             ordinary(m{"bound_claims": m{"a": m{"b": 1}}}),
		"glob":                      ordinary(m{"bound_claims": m{"a": 1}, "bound_claims_type": "glob"}),
		"claim_mappings":            ordinary(m{"claim_mappings": m{"a": "role"}}),
		"same metadata":             ordinary(m{"claim_mappings": m{"a": "x", "b": "x"}}),
		"callback_mode":             ordinary(m{"callback_mode": "x"}),
		"token_policies":            ordinary(m{"token_policies": " ROOT"}),
		"verbose_oidc_logging":      ordinary(m{"verbose_oidc_logging": true}),
		"oauth2_metadata":           ordinary(m{"oauth2_metadata": "access_token"}),
		"oidc_disable_confirmation": ordinary(m{"oidc_disable_confirmation": true}),
		"max_age":                   ordinary(m{"max_age": -5}),
		"clock_skew_leeway":         ordinary(m{"clock_skew_leeway": "1h"}),
		"https://":                  ordinary(m{"allowed_redirect_uris": "http://evil.example/"}),
		"an address":                ordinary(m{"allowed_redirect_uris": "https://u:p@evil.example/"}),
		"token_policies_template":   ordinary(m{"token_policies_template_claims": true}),
		"poll_interval":             ordinary(m{"poll_interval": 100000}),
	} {
		s.Refused(api.Write, "role/r", role, api.Invalid, says)
	}
	if r, err := s.Do(api.Read, "role/r", nil); api.KindOf(err) != api.NotFound {
		t.Errorf("a refused role is there: %v, %v", r, err)
	}
}

func TestRolesAreKept(t *testing.T) {
	s := newSite(t)
	s.Must(api.Write, "role/R", ordinary(m{"bound_claims": m{"n": 9007199254740993}, "ttl": "5m"}))
	s.Must(api.Write, "role/r", m{"bound_subject": "x"})
	s.Must(api.Write, "role/b", ordinary(nil))
	got := s.Must(api.Read, "role/r", nil).(*RoleAnswer)
	if string(got.BoundClaims) != `{"n":9007199254740993}` || got.BoundSubject != "x" || got.UserClaim != "sub" ||
		got.RoleType != "jwt" || got.TokenTTL.Std() != 5*time.Minute || got.CallbackMode != "client" {
		t.Errorf("%+v %s", got, got.BoundClaims)
	}
	if keys := s.Must(api.List, "role", nil).(*api.Keys).Keys; !slices.Equal(keys, []string{"b", "r"}) {
		t.Errorf("the list has %v", keys)
	}
	s.Must(api.Delete, "role/R", nil)
	if _, err := s.Do(api.Read, "role/r", nil); api.KindOf(err) != api.NotFound {
		t.Errorf("the role is still there: %v", err)
	}
}

// TestRenewal asks again: the role may be gone, or let in from elsewhere.
func TestRenewal(t *testing.T) {
	s := static(t, nil)
	a, err := s.login("r", token(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	renew := func() (*api.Auth, error) {
		return s.Engine.Renew(s.Call(), &api.Session{Private: a.Private, Policies: []string{"default", "dev"}})
	}
	s.Must(api.Write, "role/r", m{"token_max_ttl": "1h", "token_policies": "ops"})
	if got, err := renew(); err != nil || got.MaxTTL != time.Hour || !slices.Equal(got.TokenPolicies, []string{"ops"}) {
		t.Errorf("a renewal answers %+v, %v", got, err)
	}
	s.Must(api.Write, "role/r", m{"token_bound_cidrs": "10.0.0.0/8"})
	if _, err := renew(); api.KindOf(err) != api.Denied {
		t.Errorf("from elsewhere: %v", err)
	}
	s.Must(api.Delete, "role/r", nil)
	if _, err := renew(); api.KindOf(err) != api.Invalid {
		t.Errorf("without a role: %v", err)
	}
	if _, err := s.Engine.Renew(s.Call(), &api.Session{}); err == nil {
		t.Error("a token that nobody knows of was renewed")
	}
}

// TestNobodyLearnsWhichRolesThereAre compares the answers to who has a token of the issuer, and to who has none.
func TestNobodyLearnsWhichRolesThereAre(t *testing.T) {
	at := func(from time.Duration) m { return m{"exp": authtest.Epoch.Add(from).Unix()} }
	for what, role := range map[string]m{"more leeway": {"clock_skew_leeway": 300}, "less leeway": {"clock_skew_leeway": -1}, "an age": {"max_age": 60}, "an age that fits": {"max_age": 60, "bound_subject": "alice"}} {
		s := static(t, authtest.Changed(m{"bound_subject": "somebody else"}, role))
		for name, jwt := range map[string]string{"good": token(t, nil), "expired": token(t, at(-time.Hour)), "just expired": token(t, at(-time.Second)), "expired a while ago": token(t, at(-2*time.Minute)), "not one": "x.y.z"} {
			_, there := s.login("r", jwt)
			_, absent := s.login("no-such-role", jwt)
			if there == nil || absent == nil || there.Error() != absent.Error() || api.KindOf(there) != api.KindOf(absent) {
				t.Errorf("a role with %s, %s token: %v and %v", what, name, there, absent)
			}
		}
	}
}
