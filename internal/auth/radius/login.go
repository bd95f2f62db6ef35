package radius

import (
	"crypto/fips140"
	"errors"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/outbound"
)

// maxPassword is how long a password may be, in bytes (RFC 2865, section 5.2).
const maxPassword = 128

// LoginRequest logs in by a name and a password of the RADIUS server.
type LoginRequest struct {
	Username    api.Name   `json:"username"`                         // Name of the account.
	URLUsername api.Name   `json:"urlusername" api:"alias=username"` // The same by another name.
	Password    api.Secret `json:"password"`                         // Its password.
}

// LoginAsRequest logs in by a name in the path.
type LoginAsRequest struct {
	URLUsername api.Name   `path:"urlusername"` // Name of the account.
	Username    api.Name   `json:"username"`    // The same name, if it is given.
	Password    api.Secret `json:"password"`    // Its password.
}

func errWrong() error {
	return api.Errorf(api.Invalid, "access denied by the authentication server")
}

// login lets in who knows the password of an account of the RADIUS server.
func (engine) login(c *api.Call, q *LoginRequest) (*api.Auth, error) {
	return enter(c, string(q.Username), q.Password)
}

// loginAs lets in who knows the password of an account of the RADIUS server.
func (engine) loginAs(c *api.Call, q *LoginAsRequest) (*api.Auth, error) {
	if q.Username != "" && q.Username != q.URLUsername {
		return nil, api.Errorf(api.Invalid, "username: is another name than the one in the path")
	}
	return enter(c, string(q.URLUsername), q.Password)
}

// check refuses what no RADIUS server is asked.
func check(name string, password api.Secret) error {
	text := password.Reveal()
	switch {
	case name == "" || len(name) > maxName:
		return api.Errorf(api.Invalid, "username: is missing, or longer than %d bytes", maxName)
	case strings.Contains(name, "  "), !norm.NFKC.IsNormalString(name), strings.ContainsFunc(name, unseen):
		return api.Errorf(api.Invalid, "username: has two spaces together, or a character that is not seen, or stands for another")
	case strings.TrimSpace(text) == "" || strings.Contains(text, "\x00"):
		return api.Errorf(api.Invalid, "password: is empty, or holds a NUL")
	case len(text) > maxPassword:
		return api.Errorf(api.Invalid, "password: is longer than %d bytes", maxPassword)
	case fips140.Enforced():
		return api.Errorf(api.Invalid, "RADIUS rests on MD5, which a server that keeps to FIPS 140-3 does not use")
	}
	return nil
}

// unseen reports whether a character is one that directories behind a server pass over, or take for an ASCII letter: a name with it
// would be somebody else here, and the same there.
func unseen(r rune) bool {
	return r > unicode.MaxASCII && unicode.ToUpper(r) <= unicode.MaxASCII || unicode.Is(unicode.Variation_Selector, r) || unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r)
}

// enter asks the server. Names are asked for in their canonical spelling, so that two
// accounts there are never one person here.
func enter(c *api.Call, name string, password api.Secret) (*api.Auth, error) {
	if err := check(name, password); err != nil {
		return nil, err
	}
	cfg, err := settings(stored(c))
	switch {
	case err != nil:
		return nil, err
	case cfg == nil:
		return nil, api.Errorf(api.Invalid, "radius: the method is not configured")
	case !api.Within(c.Remote, cfg.Token.BoundCIDRs):
		return nil, api.Deny(errors.New("the client's address is not in token_bound_cidrs of the configuration"))
	}
	called := ""
	ok, err := c.Attempt(name, func() (ok bool, err error) {
		called, ok, err = cfg.ask(c, name, password)
		return ok, err
	})
	switch {
	case errors.Is(err, errUnsigned):
		return nil, &api.Error{Kind: api.Unavailable, Message: "radius: the server's answers have no Message-Authenticator, without which anybody in between can forge them", Err: err,
			Hint: "have the server add one (FreeRADIUS does so from 3.2.5 on, an older one with: update reply { &Message-Authenticator := 0x00 } in post-auth and in its Post-Auth-Type REJECT), " +
				"or, where nobody can be in between, write require_message_authenticator=false to the configuration of the method"}
	case errors.Is(err, errNobody):
		return nil, &api.Error{Kind: api.Unavailable, Message: "radius: nothing listens at the host and port of the configuration", Err: err,
			Hint: "see that the server runs there, and takes requests over UDP"}
	case err != nil:
		return nil, outbound.Away(err, "radius: the server does not answer", "see that it can be reached, knows this server as a client, and has the same secret")
	case !ok:
		return nil, errWrong()
	}
	return admit(c, cfg, name, called)
}

// admit is the answer for somebody who has proved who they are. Where the server calls
// the account by another name (RFC 2865, section 5.1), it can be had by that alone: it
// would otherwise be two people here.
func admit(c *api.Call, cfg *config, name, called string) (*api.Auth, error) {
	if called != "" && strings.ToLower(called) != name {
		return nil, &api.Error{Kind: api.Invalid, Message: "radius: the server calls this account by another name", Hint: "log in by that name"}
	}
	var u user
	registered, err := load(stored(c), prefixUser+name, &u)
	if err != nil {
		return nil, err
	}
	if !registered {
		u.Policies = cfg.Unregistered
	}
	if !registered && len(u.Policies) == 0 {
		return nil, api.Errorf(api.Invalid, "the account is not registered here, and there are no unregistered_user_policies")
	}
	auth := cfg.Token.Auth()
	auth.TokenPolicies = append(auth.TokenPolicies, u.Policies...)
	auth.Renewable = false
	auth.DisplayName = c.DisplayName(name)
	auth.Metadata = map[string]string{"username": name, "policies": strings.Join(u.Policies, ",")}
	auth.Alias = &api.Alias{Name: name}
	return auth, nil
}

// renew refuses: a RADIUS server cannot be asked about somebody without their
// password, and that is not kept.
func renew(*api.Call, *api.Session) (*api.Auth, error) {
	return nil, &api.Error{Kind: api.Invalid, Message: "a RADIUS server cannot be asked again, not renewing", Hint: "log in again"}
}
