package kubernetes

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/authrole"
	"github.com/strongroom/strongroom/internal/store"
)

// What an alias is called by.
const (
	byUID  = "serviceaccount_uid"
	byName = "serviceaccount_name"
)

// role is which service accounts it lets in.
type role struct {
	Names       []string       `json:"names"`
	Namespaces  []string       `json:"namespaces,omitempty"`
	Selector    string         `json:"selector,omitempty"`
	Audience    string         `json:"audience,omitempty"`
	AliasSource string         `json:"alias_source"`
	Token       api.TokenTerms `json:"token"`
	Old         authrole.Old   `json:"old,omitempty"`
}

// PutRole creates or changes a role; what is absent stays as it was.
type PutRole struct {
	authrole.ByName
	Names      *[]string `json:"bound_service_account_names" audit:"clear"`      // Patterns for service accounts, of which one must match; * alone: any.
	Namespaces *[]string `json:"bound_service_account_namespaces" audit:"clear"` // Patterns for their namespaces, of which one must match; * alone: any.
	Selector   *string   `json:"bound_service_account_namespace_selector"`       // Labels that a namespace has, as JSON or YAML of a label selector with matchLabels: it is let in too.
	Audience   *string   `json:"audience" audit:"clear"`                         // Audience that tokens must be for; when empty, the cluster's own.
	Alias      *string   `json:"alias_name_source"`                              // What an alias is called by: serviceaccount_uid, or serviceaccount_name for NAMESPACE/NAME.
	authrole.OldFields
	NumUses    *int      `json:"num_uses" api:"deprecated,alias=token_num_uses"`       // Old name of token_num_uses.
	BoundCIDRs *[]string `json:"bound_cidrs" api:"deprecated,alias=token_bound_cidrs"` // Old name of token_bound_cidrs.
	api.TokenFields
}

// Role is a role as it is read.
type Role struct {
	Names      []string `json:"bound_service_account_names" audit:"clear"`
	Namespaces []string `json:"bound_service_account_namespaces" audit:"clear"`
	Selector   string   `json:"bound_service_account_namespace_selector" audit:"clear"`
	Audience   string   `json:"audience,omitempty" audit:"clear"`
	Alias      string   `json:"alias_name_source"`
	api.TokenAnswer
	authrole.OldAnswer
}

// readRole answers a role.
func (engine) readRole(c *api.Call, q *authrole.ByName) (*Role, error) {
	r, err := authrole.Find[role](c, q.RoleName())
	if err != nil {
		return nil, err
	}
	return &Role{Names: r.Names, Namespaces: api.Full(r.Namespaces), Selector: r.Selector, Audience: r.Audience, Alias: r.AliasSource, TokenAnswer: r.Token.Answer(), OldAnswer: r.Old.Answer(r.Token.Answer())}, nil
}

// putRole creates or changes a role.
func (engine) putRole(c *api.Call, q *PutRole) (*api.None, error) {
	r, err := authrole.Change(c, q.RoleName(), q.apply)
	if err == nil && r.Audience == "" {
		c.Warn("without an audience, tokens that are meant for the cluster itself are taken: give the role an audience, and have tokens made for it")
	}
	return nil, err
}

// Bounds of a role.
const (
	maxItems    = 1000
	maxItem     = 512     // in bytes
	maxSelector = 4 << 10 // in bytes
)

func (q *PutRole) apply(_ *store.Tx, r *role) error {
	if r.AliasSource == "" { // it is new
		r.AliasSource = byUID
	}
	api.Set(&r.Names, q.Names)
	api.Set(&r.Namespaces, q.Namespaces)
	api.Set(&r.Audience, q.Audience)
	api.Set(&r.AliasSource, q.Alias)
	api.Set(&r.Selector, q.Selector)
	if err := bounded("bound_service_account_names", r.Names); err != nil {
		return err
	}
	if err := bounded("bound_service_account_namespaces", r.Namespaces); err != nil {
		return err
	}
	switch {
	case len(r.Names) == 0:
		return &api.Error{Kind: api.Invalid, Message: "missing bound_service_account_names", Hint: "send the names of service accounts, or patterns for them; * is any"}
	case len(r.Namespaces) == 0 && r.Selector == "":
		return api.Errorf(api.Invalid, "bound_service_account_namespaces, a list of names or patterns, or bound_service_account_namespace_selector is needed")
	case r.AliasSource != byUID && r.AliasSource != byName:
		return api.Errorf(api.Invalid, "alias_name_source: must be %s or %s", byUID, byName)
	case len(r.Audience) > maxItem:
		return api.Errorf(api.Invalid, "audience: is longer than %d bytes", maxItem)
	}
	if r.Selector != "" {
		if _, err := parseSelector(r.Selector); err != nil {
			return api.Errorf(api.Invalid, "bound_service_account_namespace_selector: %v", err)
		}
	}
	r.Old.Note(&q.TokenFields, q.Aliases)
	return q.TokenFields.Apply(&r.Token)
}

// bounded refuses lists that are too long, what is no pattern, and a * beside others,
// which would make them mean nothing.
func bounded(name string, list []string) error {
	switch {
	case len(list) > maxItems:
		return api.Errorf(api.Invalid, "%s: holds more than %d", name, maxItems)
	case slices.ContainsFunc(list, func(s string) bool { return strings.TrimSpace(s) == "" || len(s) > maxItem }):
		return api.Errorf(api.Invalid, "%s: holds one that is empty or longer than %d bytes", name, maxItem)
	case len(list) > 1 && slices.Contains(list, "*"):
		return api.Errorf(api.Invalid, "%s: * stands for any, and so stands alone", name)
	}
	return nil
}

// one reports whether a text matches one of some patterns.
func one(patterns []string, text string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool { return api.Glob(p, text) })
}

var errSelector = errors.New("must be a label selector, in JSON or YAML, with matchLabels and nothing else")

// parseSelector reads the labels of a selector. One without labels would select
// everything, and is refused.
func parseSelector(text string) (map[string]string, error) {
	if len(text) > maxSelector {
		return nil, errSelector
	}
	b, err := yaml.YAMLToJSONStrict([]byte(text))
	if err != nil {
		return nil, errSelector
	}
	var s struct {
		Labels map[string]string `json:"matchLabels"`
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&s); err != nil || len(s.Labels) == 0 {
		return nil, errSelector
	}
	return s.Labels, nil
}
