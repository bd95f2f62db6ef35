package azure

import (
	"errors"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/authrole"
	"github.com/strongroom/strongroom/internal/jws"
)

// Login is a login with the token of an identity.
type Login struct {
	Role         api.Name   `json:"role"`                // The role to log in by.
	JWT          api.Secret `json:"jwt"`                 // The token, from the instance's metadata service.
	Subscription string     `json:"subscription_id"`     // Subscription of the machine. What the token says counts: where it says another, the login is refused. So for the others.
	Group        string     `json:"resource_group_name"` // Its group of resources.
	Machine      string     `json:"vm_name"`             // Its name.
	ScaleSet     string     `json:"vmss_name"`           // Its scale set.
	Resource     string     `json:"resource_id"`         // Its identifier, in place of the others.
}

// LoginRole is the role that is named.
func (l *Login) LoginRole(*api.Call) (string, error) { return string(l.Role), nil }

// caller is who a token speaks of.
type caller struct {
	ID       string    `json:"id"` // object id in the tenant
	Groups   []string  `json:"groups,omitempty"`
	Machine  *resource `json:"machine,omitempty"`  // where the token was made, when it says so
	Location string    `json:"location,omitempty"` // of the machine; empty: nobody has asked
}

var (
	errBound    = errors.New("there is no such role, or it does not let in whom the token speaks of")
	errToken    = errors.New("the token is not one of the tenant for this server")
	errIdentity = errors.New("the token does not say whose it is")
	errNamed    = errors.New("the machine that the login names is not the one that the token says")
)

// login makes a token for an identity that a role lets in.
func (engine) login(c *api.Call, q *Login) (*api.Auth, error) {
	if err := authrole.Complete(q.Role, q.JWT, "send the token of the identity as jwt: a machine gets it from Azure's instance metadata service"); err != nil {
		return nil, err
	}
	conf, err := configured(c)
	if err != nil {
		return nil, err
	}
	said, err := conf.source().Read(c, q.JWT.Reveal(), []string{"RS256"})
	if err != nil {
		return nil, api.Deny(err)
	}
	if err := conf.takes(c, said); err != nil {
		return nil, api.Deny(err)
	}
	who, err := identify(said)
	if err != nil {
		return nil, api.Deny(err)
	}
	r, err := authrole.Load[role](c, q.Role)
	switch {
	case err != nil:
		return nil, err
	case r == nil || !r.lets(who):
		return nil, api.Deny(errBound)
	case !q.names(who.Machine):
		return nil, api.Deny(errNamed)
	}
	if len(r.Locations) > 0 {
		if who.Location, err = conf.locate(c, who.Machine); err != nil {
			return nil, api.Deny(err)
		}
		if !within(r.Locations, who.Location) {
			return nil, api.Deny(errLocation)
		}
	}
	return r.admit(c, q.Role, who)
}

// takes checks that a token is the tenant's, for this server, and in its time.
func (conf *config) takes(c *api.Call, said jws.Claims) error {
	audiences, err := said.Audiences()
	switch {
	case err != nil:
		return err
	case said.Text("iss") != conf.issuer() || strings.ToLower(said.Text("tid")) != conf.Tenant || !slices.Contains(audiences, conf.Resource) || said["exp"] == nil:
		return errToken
	}
	return jws.Leeways{}.Valid(said, c.Now)
}

// identify says whom a verified token speaks of.
func identify(said jws.Claims) (*caller, error) {
	who := &caller{ID: strings.ToLower(said.Text("oid"))}
	if !idForm().MatchString(who.ID) {
		return nil, errIdentity
	}
	list, _ := said["groups"].([]any)
	if len(list) > maxItems {
		return nil, errIdentity
	}
	for _, g := range list {
		id, _ := g.(string)
		if id = strings.ToLower(id); !idForm().MatchString(id) {
			return nil, errIdentity
		}
		who.Groups = append(who.Groups, id)
	}
	var err error
	who.Machine, err = machineOf(said)
	return who, err
}

// names reports whether what a login says of its machine is what the token says, where that says anything.
func (l *Login) names(m *resource) bool {
	if m == nil {
		return true
	}
	if l.Resource != "" {
		if named, err := parseResource(l.Resource); err != nil || *named != *m {
			return false
		}
	}
	return agrees(l.Subscription, m.Subscription) && agrees(l.Group, m.Group) && (m.Kind != kindMachine || agrees(l.Machine, m.Name)) &&
		(l.ScaleSet == "" || m.Kind == kindScaleSet && agrees(l.ScaleSet, m.Name))
}

func agrees(said, known string) bool { return said == "" || strings.EqualFold(said, known) }

// admit is the answer to a login.
func (r *role) admit(c *api.Call, name api.Name, who *caller) (*api.Auth, error) {
	auth := r.Token.Auth()
	auth.Metadata = map[string]string{"role": string(name), "service_principal_id": who.ID}
	if m := who.Machine; m != nil {
		auth.Metadata["subscription_id"], auth.Metadata["resource_group_name"] = m.Subscription, m.Group
		switch m.Kind {
		case kindMachine:
			auth.Metadata["vm_name"] = m.Name
		case kindScaleSet:
			auth.Metadata["vmss_name"] = m.Name
		}
	}
	auth.Alias = &api.Alias{Name: who.ID, Metadata: auth.Metadata}
	auth.DisplayName = c.DisplayName(who.ID)
	return authrole.Keep(auth, name, who)
}

// renew lets a token be renewed as long as its role lets in who has logged in.
func (engine) renew(c *api.Call, s *api.Session) (*api.Auth, error) {
	r, who, err := authrole.Recall[role, caller](c, s)
	switch {
	case err != nil:
		return nil, err
	case r == nil || !r.lets(who) || !within(r.Locations, who.Location):
		return nil, api.Deny(errBound)
	}
	return r.Token.Auth(), nil
}
