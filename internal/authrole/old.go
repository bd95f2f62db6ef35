package authrole

import (
	"slices"

	"github.com/strongroom/strongroom/internal/api"
)

// OldFields are parameters of api.TokenFields by the names that they had in older versions of Vault. A request embeds both.
type OldFields struct {
	Policies *[]string     `json:"policies" api:"deprecated,alias=token_policies" audit:"clear"` // Old name of token_policies.
	TTL      *api.Duration `json:"ttl" api:"deprecated,alias=token_ttl"`                         // Old name of token_ttl.
	MaxTTL   *api.Duration `json:"max_ttl" api:"deprecated,alias=token_max_ttl"`                 // Old name of token_max_ttl.
	Period   *api.Duration `json:"period" api:"deprecated,alias=token_period"`                   // Old name of token_period.
	Aliases  []string      `json:"-" api:"aliases"`
}

// Old are the deprecated names by which terms of a role or user were last set: under them they are shown as well.
type Old []string

// Note remembers by which names a request has set terms. taken are the deprecated ones that it has used.
func (o *Old) Note(f *api.TokenFields, taken []string) {
	for name, given := range map[string]bool{"policies": f.TokenPolicies != nil, "bound_cidrs": f.TokenBoundCIDRs != nil, "ttl": f.TokenTTL != nil,
		"max_ttl": f.TokenMaxTTL != nil, "period": f.TokenPeriod != nil, "num_uses": f.TokenNumUses != nil} {
		if !given {
			continue
		}
		*o = slices.DeleteFunc(*o, func(old string) bool { return old == name })
		if slices.Contains(taken, name) {
			*o = append(*o, name)
		}
	}
	slices.Sort(*o)
}

// OldAnswer is terms under the deprecated names by which they were last set. An answer embeds it.
type OldAnswer struct {
	BoundCIDRs []string      `json:"bound_cidrs,omitempty"`
	MaxTTL     *api.Duration `json:"max_ttl,omitempty"`
	NumUses    *int          `json:"num_uses,omitempty"`
	Period     *api.Duration `json:"period,omitempty"`
	Policies   []string      `json:"policies,omitempty" audit:"clear"`
	TTL        *api.Duration `json:"ttl,omitempty"`
}

// Answer is what of some terms is shown under their deprecated names.
func (o Old) Answer(a api.TokenAnswer) (out OldAnswer) {
	for _, name := range o {
		switch name {
		case "policies":
			out.Policies = a.TokenPolicies
		case "bound_cidrs":
			out.BoundCIDRs = a.TokenBoundCIDRs
		case "ttl":
			out.TTL = &a.TokenTTL
		case "max_ttl":
			out.MaxTTL = &a.TokenMaxTTL
		case "period":
			out.Period = &a.TokenPeriod
		case "num_uses":
			out.NumUses = &a.TokenNumUses
		}
	}
	return out
}
