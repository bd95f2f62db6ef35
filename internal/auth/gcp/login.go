package gcp

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/authrole"
	"github.com/strongroom/strongroom/internal/issuer"
	"github.com/strongroom/strongroom/internal/jws"
	"github.com/strongroom/strongroom/internal/outbound"
)

// Login is a login with a signed token.
type Login struct {
	Role api.Name   `json:"role"` // The role to log in by.
	JWT  api.Secret `json:"jwt"`  // The token: signed by a service account, or by Google for an instance. Its aud ends in vault/ROLE.
}

// LoginRole is the role that is named.
func (l *Login) LoginRole(*api.Call) (string, error) { return string(l.Role), nil }

// caller is who a token speaks of.
type caller struct {
	Email    string    `json:"email"`
	ID       string    `json:"id,omitempty"`      // the account's unique identifier, where Google says it
	Project  string    `json:"project,omitempty"` // that the account's email names
	Own      bool      `json:"own,omitempty"`     // signed by the account itself
	Instance *instance `json:"instance,omitempty"`
}

// instance is what Google says of an instance, in google.compute_engine.
type instance struct {
	Project string `json:"project"`
	Number  string `json:"number,omitempty"`
	Zone    string `json:"zone"`
	ID      string `json:"id"`
	Name    string `json:"name"`
	Created string `json:"created,omitempty"`
}

// region is the zone without its last part.
func (i *instance) region() string {
	if at := strings.LastIndexByte(i.Zone, '-'); at > 0 {
		return i.Zone[:at]
	}
	return ""
}

var (
	errBound    = errors.New("there is no such role, or it does not let in whom the token speaks of")
	errAccount  = errors.New("the token is not of a service account")
	errAudience = errors.New("the token is not for this role")
	errInstance = errors.New("what the token says of its instance cannot be read")
	errLife     = errors.New("the token lives too long, or does not say how long")
	errUnknown  = errors.New("Google knows no keys of the account")
)

// login makes a token for a service account or an instance.
func (engine) login(c *api.Call, q *Login) (*api.Auth, error) {
	if err := authrole.Complete(q.Role, q.JWT, "send a signed token as jwt: one that the service account has signed, or that Google has for the instance"); err != nil {
		return nil, err
	}
	conf, err := configured(c)
	if err != nil {
		return nil, err
	}
	said, own, err := conf.verify(c, q.JWT.Reveal())
	if err != nil {
		return nil, api.Deny(err)
	}
	who, err := identify(said, own)
	if err != nil {
		return nil, api.Deny(err)
	}
	r, err := authrole.Load[role](c, q.Role)
	switch {
	case err != nil:
		return nil, err
	case r == nil || !r.lets(who):
		return nil, api.Deny(errBound)
	}
	if err := r.fits(said, own, string(q.Role), c.Now); err != nil {
		return nil, api.Deny(err)
	}
	return r.admit(c, conf, q.Role, who)
}

// isGoogle reports whether a token says that Google itself has signed it.
func isGoogle(iss string) bool {
	return iss == "https://accounts.google.com" || iss == "accounts.google.com"
}

// verify checks the signature of a token and its times. The one that it says to be signed by is asked
// for its keys where the configuration says, and what is signed by those keys says who it is.
func (conf *Config) verify(c *api.Call, raw string) (said jws.Claims, own bool, err error) {
	guess, err := jws.Unverified(raw)
	if err != nil {
		return nil, false, err
	}
	if isGoogle(guess.Text("iss")) {
		said, err = conf.google().Read(c, raw, []string{"RS256"})
	} else {
		own = true
		said, err = conf.signedBy(c, raw, guess.Text("sub"))
	}
	if err != nil {
		return nil, false, err
	}
	return said, own, jws.Leeways{NotBefore: longerExp}.Valid(said, c.Now)
}

// signedBy verifies a token by the keys that Google shows of an account.
func (conf *Config) signedBy(c *api.Call, raw, account string) (jws.Claims, error) {
	if !accountForm().MatchString(account) {
		return nil, errAccount
	}
	a, err := issuer.Ask(c, "", issuer.Question{Method: http.MethodGet, Target: conf.api() + "/service_accounts/v1/jwk/" + url.PathEscape(account)})
	switch {
	case err != nil:
		return nil, outbound.Away(err, "Google could not be asked for the account's keys", "the server must reach www.googleapis.com, or what custom_endpoint names")
	case a.Status >= 500 || a.Status == http.StatusTooManyRequests:
		return nil, &api.Error{Kind: api.Unavailable, Message: "Google did not answer for the account's keys", Err: fmt.Errorf("status %d", a.Status)}
	case a.Status != http.StatusOK:
		return nil, errUnknown
	}
	keys, err := jws.ParseKeys(a.Body)
	if err != nil {
		return nil, err
	}
	return jws.Read(raw, keys, []string{"RS256"})
}

// idForm is an identifier that Google gives; textForm what it calls things by.
var (
	idForm   = api.Regexp(`^[0-9]{1,64}$`)
	textForm = api.Regexp(`^[a-z0-9][a-z0-9.:-]{0,127}$`)
)

// identify says whom a verified token speaks of.
func identify(said jws.Claims, own bool) (*caller, error) {
	if own {
		email := said.Text("sub")
		if iss, there := said["iss"]; there && iss != email || !accountForm().MatchString(email) {
			return nil, errAccount
		}
		return &caller{Email: email, Project: projectOf(email), Own: true}, nil
	}
	who := &caller{Email: said.Text("email"), ID: said.Text("sub")}
	if said["email_verified"] != true || !accountForm().MatchString(who.Email) || !idForm().MatchString(who.ID) {
		return nil, errAccount
	}
	who.Project = projectOf(who.Email)
	if said["google"] == nil {
		return who, nil
	}
	who.Instance = &instance{Project: text(said, "project_id"), Number: text(said, "project_number"), Zone: text(said, "zone"),
		ID: text(said, "instance_id"), Name: text(said, "instance_name"), Created: text(said, "instance_creation_timestamp")}
	i := who.Instance
	if !textForm().MatchString(i.Project) || !textForm().MatchString(i.Zone) || !textForm().MatchString(i.Name) || !idForm().MatchString(i.ID) {
		return nil, errInstance
	}
	return who, nil
}

// text is something that a token says of its instance; whole numbers as text.
func text(said jws.Claims, name string) string {
	switch v := said.At("/google/compute_engine/" + name).(type) {
	case string:
		return v
	case json.Number:
		if n, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return strconv.FormatInt(n, 10)
		}
	}
	return ""
}

// fits checks that a token is for this role, and ends as soon as the role wants.
func (r *role) fits(said jws.Claims, own bool, name string, now time.Time) error {
	audiences, err := said.Audiences()
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(audiences, func(a string) bool { return isFor(a, name) }) {
		return errAudience
	}
	expires, err := said.Moment("exp")
	switch {
	case err != nil:
		return err
	case expires.IsZero(), own && expires.After(now.Add(r.longest()+jws.UsualSkew)):
		return errLife
	}
	return nil
}

// isFor reports whether an audience is that of a role: vault/ROLE, or a URL that ends so.
func isFor(audience, role string) bool {
	audience, want := strings.ToLower(audience), "vault/"+role
	return audience == want || strings.HasSuffix(audience, "/"+want) && (strings.HasPrefix(audience, "https://") || strings.HasPrefix(audience, "http://"))
}

// admit is the answer to a login.
func (r *role) admit(c *api.Call, conf *Config, name api.Name, who *caller) (*api.Auth, error) {
	auth := r.Token.Auth()
	auth.Metadata = map[string]string{"role": string(name), "service_account_email": who.Email, "service_account_id": who.ID, "project_id": who.Project}
	auth.Alias = &api.Alias{Name: who.Email}
	shown, by, told := who.Email, conf.IAMAlias, conf.IAMMetadata
	if r.Type == typeGCE {
		i := who.Instance
		auth.Metadata["project_id"], auth.Metadata["project_number"], auth.Metadata["zone"] = i.Project, i.Number, i.Zone
		auth.Metadata["instance_id"], auth.Metadata["instance_name"], auth.Metadata["instance_creation_timestamp"] = i.ID, i.Name, i.Created
		auth.Alias.Name, shown, by, told = who.ID, i.Name, conf.GCEAlias, conf.GCEMetadata
	}
	auth.Alias.Metadata = authrole.Metadata(told, auth.Metadata)
	switch by {
	case byRole:
		auth.Alias.Name = r.ID
	case byInstance:
		auth.Alias.Name = who.Instance.ID
	}
	auth.DisplayName = c.DisplayName(shown)
	return authrole.Keep(auth, name, who)
}

// renew lets a token be renewed as long as its role lets in who has logged in.
func (engine) renew(c *api.Call, s *api.Session) (*api.Auth, error) {
	r, who, err := authrole.Recall[role, caller](c, s)
	switch {
	case err != nil:
		return nil, err
	case r == nil || !r.lets(who):
		return nil, api.Deny(errBound)
	}
	return r.Token.Auth(), nil
}
