package gcp

import (
	"slices"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/authrole"
	"github.com/strongroom/strongroom/internal/store"
)

// Types of roles.
const (
	typeIAM = "iam"
	typeGCE = "gce"
)

// Bounds of a role.
const (
	maxItems  = 1000
	maxItem   = 512 // in bytes
	usualExp  = 15 * time.Minute
	longerExp = time.Hour
)

// role is which accounts or instances it lets in. What is listed must all hold; of a list, one.
type role struct {
	ID        string         `json:"id"`
	Type      string         `json:"type"`
	Accounts  []string       `json:"accounts,omitempty"` // emails or unique ids; * alone: any
	Projects  []string       `json:"projects,omitempty"`
	Zones     []string       `json:"zones,omitempty"`
	Regions   []string       `json:"regions,omitempty"`
	MaxExp    time.Duration  `json:"max_exp,omitempty"` // of tokens that accounts sign; 0: usualExp
	Inference bool           `json:"inference"`         // iam: tokens that Google signs for an account are taken too
	Token     api.TokenTerms `json:"token"`
	Old       authrole.Old   `json:"old,omitempty"`
}

// PutRole creates or changes a role; what is absent stays as it was.
type PutRole struct {
	authrole.ByName
	Type         *string       `json:"type"`                                                            // iam, for service accounts, or gce, for instances; a role keeps its type.
	Accounts     *[]string     `json:"bound_service_accounts" audit:"clear"`                            // Emails or unique identifiers of service accounts, of which one must log in; * alone: any of bound_projects.
	Projects     *[]string     `json:"bound_projects" audit:"clear"`                                    // Projects, of which the account or instance must be in one.
	Zones        *[]string     `json:"bound_zones" audit:"clear"`                                       // Zones, of which the instance must be in one.
	Zone         *[]string     `json:"bound_zone" api:"deprecated,alias=bound_zones" audit:"clear"`     // Old name of bound_zones.
	Regions      *[]string     `json:"bound_regions" audit:"clear"`                                     // Regions, of which the instance must be in one.
	Region       *[]string     `json:"bound_region" api:"deprecated,alias=bound_regions" audit:"clear"` // Old name of bound_regions.
	Groups       []string      `json:"bound_instance_groups"`                                           // Must be empty: only the Compute API knows groups of instances.
	Group        []string      `json:"bound_instance_group"`                                            // Must be empty, likewise.
	Labels       []string      `json:"bound_labels"`                                                    // Must be empty: only the Compute API knows labels.
	MaxExp       *api.Duration `json:"max_jwt_exp"`                                                     // How far from now a token that an account has signed may end: 15m at first, at most 1h.
	Inference    *bool         `json:"allow_gce_inference"`                                             // For the type iam: take what Google has signed for an account too; true at first.
	GroupAliases *bool         `json:"add_group_aliases"`                                               // Must be false: only the Resource Manager API knows folders and organisations.
	authrole.OldFields
	api.TokenFields
}

// Role is a role as it is read.
type Role struct {
	Type      string       `json:"type"`
	ID        string       `json:"role_id" audit:"clear"`
	Accounts  []string     `json:"bound_service_accounts" audit:"clear"`
	Projects  []string     `json:"bound_projects" audit:"clear"`
	Zones     []string     `json:"bound_zones" audit:"clear"`
	Regions   []string     `json:"bound_regions" audit:"clear"`
	MaxExp    api.Duration `json:"max_jwt_exp"`
	Inference bool         `json:"allow_gce_inference"`
	Aliases   bool         `json:"add_group_aliases"`
	api.TokenAnswer
	authrole.OldAnswer
}

// readRole answers a role.
func (engine) readRole(c *api.Call, q *authrole.ByName) (*Role, error) {
	r, err := authrole.Find[role](c, q.RoleName())
	if err != nil {
		return nil, err
	}
	return &Role{Type: r.Type, ID: r.ID, Accounts: api.Full(r.Accounts), Projects: api.Full(r.Projects), Zones: api.Full(r.Zones), Regions: api.Full(r.Regions),
		MaxExp: api.Duration(r.longest()), Inference: r.Inference, TokenAnswer: r.Token.Answer(), OldAnswer: r.Old.Answer(r.Token.Answer())}, nil
}

// putRole creates or changes a role.
func (engine) putRole(c *api.Call, q *PutRole) (*api.None, error) {
	_, err := authrole.Change(c, q.RoleName(), q.apply)
	return nil, err
}

// unsupported refuses what would be a condition that does not hold.
func (q *PutRole) unsupported() error {
	switch {
	case len(q.Groups) > 0 || len(q.Group) > 0:
		return &api.Error{Kind: api.Invalid, Message: "bound_instance_groups: is not supported, only the Compute API knows groups of instances", Hint: "give the group's instances a service account of their own, and bind that"}
	case len(q.Labels) > 0:
		return errLabels()
	case q.GroupAliases != nil && *q.GroupAliases:
		return &api.Error{Kind: api.Invalid, Message: "add_group_aliases: is not supported, only the Resource Manager API knows folders and organisations", Hint: "say false"}
	}
	return nil
}

func errLabels() error {
	return &api.Error{Kind: api.Invalid, Message: "bound_labels: is not supported, only the Compute API knows labels of instances", Hint: "give these instances a service account of their own, and bind that"}
}

func (q *PutRole) apply(_ *store.Tx, r *role) error {
	if err := q.unsupported(); err != nil {
		return err
	}
	switch {
	case r.ID == "": // it is new
		r.ID, r.Inference = api.NewUUID(), true
	case q.Type != nil && *q.Type != r.Type:
		return api.Errorf(api.Invalid, "type: a role keeps its type")
	}
	api.Set(&r.Type, q.Type)
	api.Set(&r.Accounts, q.Accounts)
	api.Set(&r.Projects, q.Projects)
	api.Set(&r.Zones, q.Zones)
	api.Set(&r.Regions, q.Regions)
	api.Set((*api.Duration)(&r.MaxExp), q.MaxExp)
	api.Set(&r.Inference, q.Inference)
	if err := r.check(); err != nil {
		return err
	}
	r.Old.Note(&q.TokenFields, q.Aliases)
	return q.TokenFields.Apply(&r.Token)
}

// check refuses a role that would let in strangers, or has conditions that say nothing.
func (r *role) check() error {
	for _, l := range []struct {
		name string
		list []string
	}{{"bound_service_accounts", r.Accounts}, {"bound_projects", r.Projects}, {"bound_zones", r.Zones}, {"bound_regions", r.Regions}} {
		if len(l.list) > maxItems || slices.ContainsFunc(l.list, func(s string) bool { return strings.TrimSpace(s) != s || s == "" || len(s) > maxItem }) {
			return api.Errorf(api.Invalid, "%s: holds more than %d, or one that is empty or longer than %d bytes", l.name, maxItems, maxItem)
		}
	}
	wild := slices.Contains(r.Accounts, "*")
	switch {
	case r.Type != typeIAM && r.Type != typeGCE:
		return api.Errorf(api.Invalid, "type: must be %s or %s", typeIAM, typeGCE)
	case wild && len(r.Accounts) > 1:
		return api.Errorf(api.Invalid, "bound_service_accounts: * stands for any, and so stands alone")
	case wild && len(r.Projects) == 0:
		return api.Errorf(api.Invalid, "bound_projects: is needed with bound_service_accounts *, which is anybody at Google otherwise")
	case r.Type == typeIAM && len(r.Accounts) == 0:
		return &api.Error{Kind: api.Invalid, Message: "missing bound_service_accounts", Hint: "send the emails of service accounts that are let in; * with bound_projects is any of those projects"}
	case r.Type == typeGCE && len(r.Accounts) == 0 && len(r.Projects) == 0:
		return api.Errorf(api.Invalid, "bound_projects or bound_service_accounts is needed: the role would let in anybody's instances")
	case r.Type == typeIAM && (len(r.Zones) > 0 || len(r.Regions) > 0):
		return api.Errorf(api.Invalid, "bound_zones and bound_regions are for roles of the type gce")
	case r.MaxExp < 0 || r.MaxExp > longerExp:
		return api.Errorf(api.Invalid, "max_jwt_exp: must be at most %v", longerExp)
	}
	return nil
}

// longest is how far from now a token that an account has signed may end.
func (r *role) longest() time.Duration {
	if r.MaxExp == 0 {
		return usualExp
	}
	return r.MaxExp
}

// lets reports whether a role lets somebody in: every list that there is must name them.
func (r *role) lets(who *caller) bool {
	if r.Type == typeIAM {
		return (who.Own || r.Inference) && r.account(who) && within(r.Projects, who.Project)
	}
	i := who.Instance
	return r.Type == typeGCE && i != nil && !who.Own && (len(r.Accounts) == 0 || r.account(who)) &&
		within(r.Projects, i.Project) && within(r.Zones, i.Zone) && within(r.Regions, i.region())
}

func (r *role) account(who *caller) bool {
	return slices.ContainsFunc(r.Accounts, func(a string) bool {
		return a == "*" || strings.EqualFold(a, who.Email) || who.ID != "" && a == who.ID
	})
}

// within reports whether a list that binds names something; one that is empty does not bind.
func within(list []string, text string) bool {
	return len(list) == 0 || text != "" && slices.Contains(list, text)
}

// EditAccounts changes the service accounts of a role of the type iam.
type EditAccounts struct {
	authrole.ByName
	Add    []string `json:"add" audit:"clear"`    // Accounts to let in.
	Remove []string `json:"remove" audit:"clear"` // Accounts to let in no more.
}

// editAccounts changes the service accounts of a role.
func (engine) editAccounts(c *api.Call, q *EditAccounts) (*api.None, error) {
	if len(q.Add) == 0 && len(q.Remove) == 0 {
		return nil, api.Errorf(api.Invalid, "add or remove is needed")
	}
	_, err := authrole.Change(c, q.RoleName(), func(_ *store.Tx, r *role) error {
		if r.ID == "" {
			return api.ErrNotFound()
		}
		list := slices.DeleteFunc(slices.Concat(r.Accounts, q.Add), func(a string) bool { return slices.Contains(q.Remove, a) })
		slices.Sort(list)
		r.Accounts = slices.Compact(list)
		return r.check()
	})
	return nil, err
}

// EditLabels would change the labels of a role of the type gce.
type EditLabels struct {
	authrole.ByName
	Add    []string `json:"add"`    // Not supported.
	Remove []string `json:"remove"` // Not supported.
}

// editLabels refuses: labels are no condition here.
func (engine) editLabels(*api.Call, *EditLabels) (*api.None, error) { return nil, errLabels() }

// accountForm is the email of a service account; projectForm one of a project's own accounts, with the
// project. As all forms of this package, they are compiled when first asked: together they are 450 KB.
var (
	accountForm = api.Regexp(`^[a-z0-9][a-z0-9.-]{0,99}@([a-z0-9-]{1,63}\.){1,6}gserviceaccount\.com$`)
	projectForm = api.Regexp(`^[^@]+@([a-z0-9-]{1,63})\.iam\.gserviceaccount\.com$`)
)

// projectOf is the project that an account's email names; empty when it names none.
func projectOf(email string) string {
	if m := projectForm().FindStringSubmatch(email); m != nil {
		return m[1]
	}
	return ""
}
