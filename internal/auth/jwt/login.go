package jwt

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/issuer"
	"github.com/strongroom/strongroom/internal/jws"
	"github.com/strongroom/strongroom/internal/store"
)

// LoginRequest logs in with a token.
type LoginRequest struct {
	JWT  api.Secret `json:"jwt"`                // The token.
	Role api.Name   `json:"role" audit:"clear"` // The role to log in by; the configuration's default when absent.
}

// LoginRole is the role that the login names, or the configuration's.
func (q *LoginRequest) LoginRole(c *api.Call) (string, error) {
	if q.Role != "" {
		return string(q.Role), nil
	}
	cfg, err := store.LoadJSON[config](c, c.Store, configRow)
	if err != nil || cfg == nil {
		return "", err
	}
	return cfg.DefaultRole, nil
}

// person is who a token speaks of, in terms of a role.
type person struct {
	Name     string            `json:"name"`
	Groups   []string          `json:"groups,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"` // without the role's name
}

// private is what a renewal looks at again.
type private struct {
	Role string `json:"role"`
	CEL  []byte `json:"cel,omitempty"` // hash of the role in CEL that made the token; nil: the role is another

	Terms *api.TokenTerms `json:"terms,omitempty"` // what the program gave
}

// errLogin is the one answer for a role that does not exist and a token that the role
// does not want. Why is told to nobody: anybody can have a token of a public issuer.
func errLogin(why error) *api.Error {
	return &api.Error{Kind: api.Invalid, Message: "error validating claims: there is no such role, or it does not let this token in",
		Hint: "compare what the token says with what the role wants", Err: why}
}

// errToken tells what is wrong with a token that is wrong for any role.
func errToken(why error) error { return told("error validating token", why) }

// wrong is why somebody is not let in, in words that may be told.
func wrong(format string, args ...any) error { return jws.Wrong(format, args...) }

// told makes a fault an answer; what else has failed stays as it is.
func told(what string, why error) error {
	var f jws.Fault
	if errors.As(why, &f) {
		return api.Errorf(api.Invalid, "%s: %v", what, f)
	}
	return why
}

// named is the role to log in by: the one that is asked for, or the configuration's.
func (cfg *config) named(asked api.Name) (string, error) {
	name := cmp.Or(string(asked), cfg.DefaultRole)
	if name == "" {
		return "", &api.Error{Kind: api.Invalid, Message: "missing role", Hint: "send the name of a role as role, or have the configuration name one: default_role"}
	}
	return name, nil
}

// begin is the configuration that a login is judged by, and the role that it is by.
func (q *LoginRequest) begin(c *api.Call) (*config, string, error) {
	cfg, err := configured(c)
	if err != nil {
		return nil, "", err
	}
	name, err := cfg.named(q.Role)
	if err == nil && q.JWT.Empty() {
		err = &api.Error{Kind: api.Invalid, Message: "missing jwt", Hint: "send the token that the issuer has signed as jwt"}
	}
	return cfg, name, err
}

// login exchanges a signed token for one of ours.
func (engine) login(c *api.Call, req *LoginRequest) (*api.Auth, error) {
	cfg, name, err := req.begin(c)
	if err != nil {
		return nil, err
	}
	r, err := roleOf(c, c.Store, name)
	if err != nil {
		return nil, err
	}
	said, err := cfg.accept(c, req.JWT.Reveal())
	if err != nil {
		return nil, errToken(err)
	}
	who, err := r.judge(said, cfg, c.Now)
	if err != nil {
		return nil, refused(said, c.Now, errLogin(err))
	}
	return r.auth(c, name, who)
}

// accept checks what is the same for all roles: the signature and the issuer.
func (cfg *config) accept(c *api.Call, raw string) (jws.Claims, error) {
	said, err := cfg.read(c, raw, cfg.allowed(jws.Algorithms()))
	if err != nil {
		return nil, err
	}
	return said, cfg.issued(c, said)
}

// refused is the answer to a token that a role, if there is one, does not want: why not, unless its times are wrong for a role that says
// nothing of them. By what is told of those nobody learns whether there is a role.
func refused(said jws.Claims, now time.Time, why error) error {
	if err := (jws.Leeways{}).Valid(said, now); err != nil {
		return errToken(err)
	}
	return why
}

// judge judges a token that is brought by a role, which may be nil, and says who it is.
func (r *role) judge(said jws.Claims, cfg *config, now time.Time) (*person, error) {
	if r == nil || r.Type != typeJWT {
		return nil, wrong("no such role")
	}
	if err := r.Leeways.Valid(said, now); err != nil {
		return nil, err
	}
	if err := recent(said, r.MaxAge, r.Leeways.ClockSkew, now); err != nil {
		return nil, err
	}
	return r.admit(said, cfg)
}

// issued checks who a token says that it is from.
func (cfg *config) issued(c *api.Call, said jws.Claims) error {
	want := cfg.BoundIssuer
	if want == "" && cfg.DiscoveryURL != "" {
		is, err := cfg.source().Current(c)
		if err != nil {
			return err
		}
		if is.Meta == nil {
			return issuer.ErrAsking()
		}
		want = is.Meta.Issuer
	}
	if want != "" && said.Text("iss") != want {
		return wrong("it is from another issuer")
	}
	return nil
}

// admit judges a token by the role, and says who it is.
func (r *role) admit(said jws.Claims, cfg *config) (*person, error) {
	audiences, err := said.Audiences()
	switch {
	case err != nil:
		return nil, err
	case r.Type == typeJWT && len(r.Audiences) == 0 && len(audiences) > 0:
		return nil, wrong("audience claim found in JWT but no audiences bound to the role")
	case len(r.Audiences) > 0 && !slices.ContainsFunc(audiences, func(a string) bool { return slices.Contains(r.Audiences, a) }):
		return nil, wrong("aud is none of the role's")
	case r.Subject != "" && said.Text("sub") != r.Subject:
		return nil, wrong("sub is not the role's")
	}
	if err := bound(said, numbers(r.Claims), r.ClaimsType == globMatch); err != nil {
		return nil, err
	}
	return r.person(said, cfg)
}

// person takes from a token who it is.
func (r *role) person(said jws.Claims, cfg *config) (*person, error) {
	var v any = said[r.User]
	if r.UserPointer {
		v = said.At(r.User)
	}
	name, ok := v.(string)
	if !ok || !plain(name) {
		return nil, wrong("the claim that says who it is, is absent or no name")
	}
	who := &person{Name: name, Metadata: map[string]string{}}
	for claim, target := range r.Mappings {
		v := said.At(claim)
		if v == nil {
			continue
		}
		text, ok := v.(string)
		if !ok || len(text) > maxMetadata {
			return nil, wrong("a claim that becomes metadata is no text, or too long")
		}
		who.Metadata[target] = text
	}
	var err error
	who.Groups, err = r.groups(said, cfg)
	return who, err
}

// groups takes from a token which groups the login is in.
func (r *role) groups(said jws.Claims, cfg *config) ([]string, error) {
	if r.Groups == "" {
		return nil, nil
	}
	v := said.At(r.Groups)
	if text, ok := v.(string); ok && cfg.Provider["provider"] == "secureauth" {
		v = anys(strings.Split(text, ","))
	}
	list, ok := listed(v)
	if !ok || len(list) > maxGroups {
		return nil, wrong("the claim that lists groups is absent, no list, or too long")
	}
	var out []string
	for _, g := range list {
		name, ok := g.(string)
		if name = strings.TrimSpace(name); !ok || name != "" && !plain(name) {
			return nil, wrong("a group is no name")
		}
		if name != "" {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

func anys(list []string) []any {
	out := make([]any, len(list))
	for i, s := range list {
		out[i] = s
	}
	return out
}

// auth is the answer to a login by the role.
func (r *role) auth(c *api.Call, name string, who *person) (*api.Auth, error) {
	metadata := maps.Clone(who.Metadata)
	if metadata == nil {
		metadata = map[string]string{}
	}
	metadata["role"] = name
	out := r.Auth()
	out.LoginRole = name
	out.Metadata, out.DisplayName, out.GroupAliases = metadata, c.DisplayName(who.Name), who.Groups
	out.Alias = &api.Alias{Name: who.Name, Metadata: metadata}
	var err error
	out.Private, err = json.Marshal(private{Role: name})
	return out, err
}

// renew looks again whether the role is still there, and lets whoever asks renew.
func (e engine) renew(c *api.Call, s *api.Session) (*api.Auth, error) {
	var p private
	if err := json.Unmarshal(s.Private, &p); err != nil {
		return nil, fmt.Errorf("jwt: what a token keeps cannot be read: %w", err)
	}
	if p.CEL != nil {
		return e.renewCEL(c, p)
	}
	r, err := roleOf(c, c.Store, p.Role)
	switch {
	case err != nil:
		return nil, err
	case r == nil:
		return nil, api.Errorf(api.Invalid, "the role does not exist any more, not renewing")
	case !api.Within(c.Remote, r.BoundCIDRs):
		return nil, api.ErrDenied()
	}
	return r.Auth(), nil
}
