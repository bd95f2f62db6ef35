package kubernetes

import (
	"errors"
	"fmt"
	"maps"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/authrole"
	"github.com/strongroom/strongroom/internal/store"
)

// Login is a login with the token of a service account.
type Login struct {
	Role api.Name   `json:"role"` // The role to log in by.
	JWT  api.Secret `json:"jwt"`  // The service account's token.
}

// LoginRole is the role that is named.
func (l *Login) LoginRole(*api.Call) (string, error) { return string(l.Role), nil }

var (
	errRole  = errors.New("there is no such role")
	errBound = errors.New("the role does not let this service account in")
)

// login makes a token for a service account that a role lets in.
func (engine) login(c *api.Call, q *Login) (*api.Auth, error) {
	if err := authrole.Complete(q.Role, q.JWT, "send the token of the service account as jwt: a pod has it in /var/run/secrets/kubernetes.io/serviceaccount/token"); err != nil {
		return nil, err
	}
	k, err := connected(c)
	if err != nil {
		return nil, err
	}
	r, err := authrole.Load[role](c, q.Role)
	if err != nil {
		return nil, err
	}
	asked := r
	if r == nil { // as long as for a role that there is
		asked = &role{}
	}
	token := q.JWT.Reveal()
	who, err := k.review(c, token, asked.Audience)
	switch {
	case err != nil:
		return nil, api.Deny(err)
	case r == nil:
		return nil, api.Deny(errRole)
	}
	if err := r.lets(c, k, k.bearer(token), who); err != nil {
		return nil, api.Deny(err)
	}
	return r.admit(c, k, k.bearer(token), q.Role, who)
}

// lets is nil when a role lets a service account in.
func (r *role) lets(c *api.Call, k *cluster, bearer string, who *account) error {
	switch {
	case !one(r.Names, who.Name):
		return errBound
	case one(r.Namespaces, who.Namespace):
		return nil
	case r.Selector == "":
		return errBound
	}
	want, err := parseSelector(r.Selector)
	if err != nil {
		return fmt.Errorf("kubernetes: %w: a role's selector", store.ErrCorrupt)
	}
	have, err := k.labels(c, bearer, who.Namespace)
	if err != nil {
		return err
	}
	for key, value := range want {
		if got, ok := have[key]; !ok || got != value {
			return errBound
		}
	}
	return nil
}

// admit is the answer to a login.
func (r *role) admit(c *api.Call, k *cluster, bearer string, name api.Name, who *account) (*api.Auth, error) {
	auth := r.Token.Auth()
	meta := map[string]string{"service_account_name": who.Name, "service_account_namespace": who.Namespace, "service_account_uid": who.UID, "service_account_secret_name": ""}
	auth.Alias = &api.Alias{Name: who.UID, Metadata: maps.Clone(meta)}
	if r.AliasSource == byName {
		auth.Alias.Name = who.Namespace + "/" + who.Name
	}
	if k.Annotations {
		more, err := k.annotated(c, bearer, who)
		if err != nil {
			return nil, api.Deny(err)
		}
		for key, value := range more {
			if _, taken := meta[key]; !taken { // what the cluster says stays
				auth.Alias.Metadata[key] = value
			}
		}
	}
	meta["role"] = string(name)
	auth.Metadata = meta
	auth.DisplayName = c.DisplayName(who.Namespace + "-" + who.Name)
	return authrole.Keep(auth, name, who)
}

// renew lets a token be renewed as long as its role lets the service account in. Labels of
// a namespace are asked for again where the server has a token of its own to ask with.
func (engine) renew(c *api.Call, s *api.Session) (*api.Auth, error) {
	r, who, err := authrole.Recall[role, account](c, s)
	switch {
	case err != nil:
		return nil, err
	case r == nil:
		return nil, api.Deny(errRole)
	case one(r.Names, who.Name) && one(r.Namespaces, who.Namespace):
		return r.Token.Auth(), nil
	}
	k, err := connected(c)
	if err != nil {
		return nil, err
	}
	if k.Reviewer == "" {
		return nil, api.Deny(errBound)
	}
	if err := r.lets(c, k, k.Reviewer, who); err != nil {
		return nil, api.Deny(err)
	}
	return r.Token.Auth(), nil
}
