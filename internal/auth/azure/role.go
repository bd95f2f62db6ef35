package azure

import (
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/authrole"
	"github.com/strongroom/strongroom/internal/store"
)

// role is which identities it lets in. What is listed must all hold; of a list, one.
type role struct {
	Principals    []string       `json:"principals,omitempty"` // * alone: any of the tenant
	Groups        []string       `json:"groups,omitempty"`
	Subscriptions []string       `json:"subscriptions,omitempty"`
	Resources     []string       `json:"resources,omitempty"` // groups of resources
	ScaleSets     []string       `json:"scale_sets,omitempty"`
	Locations     []string       `json:"locations,omitempty"`
	Token         api.TokenTerms `json:"token"`
	Old           authrole.Old   `json:"old,omitempty"`
}

// PutRole creates or changes a role; what is absent stays as it was.
type PutRole struct {
	authrole.ByName
	Principals    *[]string `json:"bound_service_principal_ids" audit:"clear"` // Object ids of service principals, of which one must log in; * alone: any of the tenant.
	Groups        *[]string `json:"bound_group_ids" audit:"clear"`             // Object ids of groups, of which it must be in one, as its token says.
	Subscriptions *[]string `json:"bound_subscription_ids" audit:"clear"`      // Subscriptions, of which the machine that its token names must be in one.
	Resources     *[]string `json:"bound_resource_groups" audit:"clear"`       // Groups of resources, likewise.
	ScaleSets     *[]string `json:"bound_scale_sets" audit:"clear"`            // Scale sets, of which the machine must be one's.
	Locations     *[]string `json:"bound_locations" audit:"clear"`             // Locations, of which the machine must stand in one: needs client_id and client_secret of the configuration.
	authrole.OldFields
	NumUses *int `json:"num_uses" api:"deprecated,alias=token_num_uses"` // Old name of token_num_uses.
	api.TokenFields
}

// Role is a role as it is read.
type Role struct {
	Principals    []string `json:"bound_service_principal_ids" audit:"clear"`
	Groups        []string `json:"bound_group_ids" audit:"clear"`
	Subscriptions []string `json:"bound_subscription_ids" audit:"clear"`
	Resources     []string `json:"bound_resource_groups" audit:"clear"`
	ScaleSets     []string `json:"bound_scale_sets" audit:"clear"`
	Locations     []string `json:"bound_locations" audit:"clear"`
	api.TokenAnswer
	authrole.OldAnswer
}

// readRole answers a role.
func (engine) readRole(c *api.Call, q *authrole.ByName) (*Role, error) {
	r, err := authrole.Find[role](c, q.RoleName())
	if err != nil {
		return nil, err
	}
	return &Role{Principals: api.Full(r.Principals), Groups: api.Full(r.Groups), Subscriptions: api.Full(r.Subscriptions), Resources: api.Full(r.Resources),
		ScaleSets: api.Full(r.ScaleSets), Locations: api.Full(r.Locations), TokenAnswer: r.Token.Answer(), OldAnswer: r.Old.Answer(r.Token.Answer())}, nil
}

// putRole creates or changes a role.
func (engine) putRole(c *api.Call, q *PutRole) (*api.None, error) {
	_, err := authrole.Change(c, q.RoleName(), q.apply)
	return nil, err
}

func (q *PutRole) apply(tx *store.Tx, r *role) error {
	lists := []struct {
		name     string
		kept     *[]string
		sent     *[]string
		isID     bool
		spelling func(string) string
	}{
		{"bound_service_principal_ids", &r.Principals, q.Principals, true, strings.ToLower},
		{"bound_group_ids", &r.Groups, q.Groups, true, strings.ToLower},
		{"bound_subscription_ids", &r.Subscriptions, q.Subscriptions, true, strings.ToLower},
		{"bound_resource_groups", &r.Resources, q.Resources, false, strings.ToLower},
		{"bound_scale_sets", &r.ScaleSets, q.ScaleSets, false, strings.ToLower},
		{"bound_locations", &r.Locations, q.Locations, false, located},
	}
	bound := false
	for _, l := range lists {
		if l.sent != nil {
			list, err := names(l.name, *l.sent, l.isID, l.spelling)
			if err != nil {
				return err
			}
			*l.kept = list
		}
		bound = bound || len(*l.kept) > 0
	}
	if !bound {
		return api.Errorf(api.Invalid, "at least one of bound_service_principal_ids, bound_group_ids, bound_subscription_ids, bound_resource_groups, bound_scale_sets and bound_locations is needed")
	}
	var conf config
	if _, err := tx.LoadJSON(configKey, &conf); err != nil {
		return err
	}
	if len(r.Locations) > 0 && conf.ClientID == "" {
		return &api.Error{Kind: api.Invalid, Message: "bound_locations: tokens do not say where a machine stands, and there is no client to ask with", Hint: "set client_id and client_secret in config: a client that may read the machines"}
	}
	r.Old.Note(&q.TokenFields, q.Aliases)
	return q.TokenFields.Apply(&r.Token)
}

// names gives what a list holds its one spelling, and refuses what could name nothing.
func names(field string, list []string, isID bool, spelling func(string) string) ([]string, error) {
	if len(list) > maxItems {
		return nil, api.Errorf(api.Invalid, "%s: holds more than %d", field, maxItems)
	}
	if field == "bound_service_principal_ids" && slices.Equal(list, []string{"*"}) {
		return list, nil
	}
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = spelling(s)
		switch {
		case isID && !idForm().MatchString(out[i]):
			return nil, api.Errorf(api.Invalid, "%s: each must be a UUID", field)
		case !isID && !nameForm().MatchString(out[i]):
			return nil, api.Errorf(api.Invalid, "%s: holds one that is no name", field)
		}
	}
	return out, nil
}

// located is the one spelling of a location: westeurope, for West Europe.
func located(text string) string { return strings.ToLower(strings.ReplaceAll(text, " ", "")) }

// lets reports whether a role lets somebody in: every list that there is must name them. Locations are
// another's to tell.
func (r *role) lets(who *caller) bool {
	machine := who.Machine
	if machine == nil {
		machine = &resource{}
	}
	scaleSet := ""
	if machine.Kind == kindScaleSet {
		scaleSet = machine.Name
	}
	return r.binds() && (slices.Equal(r.Principals, []string{"*"}) || within(r.Principals, who.ID)) && within(r.Groups, who.Groups...) &&
		within(r.Subscriptions, machine.Subscription) && within(r.Resources, machine.Group) && within(r.ScaleSets, scaleSet)
}

func (r *role) binds() bool {
	return len(r.Principals)+len(r.Groups)+len(r.Subscriptions)+len(r.Resources)+len(r.ScaleSets)+len(r.Locations) > 0
}

// within reports whether a list that binds names one of some things; one that is empty does not bind.
func within(list []string, have ...string) bool {
	return len(list) == 0 || slices.ContainsFunc(have, func(s string) bool { return s != "" && slices.Contains(list, s) })
}
