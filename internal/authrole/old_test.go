package authrole

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

// Terms are shown under the deprecated names that they were last set by, and under no other.
func TestOldNames(t *testing.T) {
	hour, none, uses, names := api.Duration(time.Hour), api.Duration(0), 3, []string{"a"}
	a := api.TokenAnswer{TokenTTL: hour, TokenMaxTTL: hour, TokenPeriod: none, TokenNumUses: uses, TokenPolicies: names, TokenBoundCIDRs: []string{"10.0.0.0/8"}}
	var o Old
	for _, c := range []struct {
		f     api.TokenFields
		taken []string
		want  string
	}{
		{api.TokenFields{TokenTTL: &hour, TokenPolicies: &names}, []string{"ttl"}, `{"ttl":3600}`},
		{api.TokenFields{TokenMaxTTL: &hour, TokenPeriod: &none, TokenNumUses: &uses, TokenBoundCIDRs: &names}, []string{"max_ttl", "period", "num_uses", "bound_cidrs", "lease"},
			`{"bound_cidrs":["10.0.0.0/8"],"max_ttl":3600,"num_uses":3,"period":0,"ttl":3600}`},
		{api.TokenFields{}, nil, `{"bound_cidrs":["10.0.0.0/8"],"max_ttl":3600,"num_uses":3,"period":0,"ttl":3600}`},
		{api.TokenFields{TokenTTL: &hour, TokenMaxTTL: &hour, TokenPeriod: &none, TokenNumUses: &uses, TokenBoundCIDRs: &names, TokenPolicies: &names}, []string{"policies"}, `{"policies":["a"]}`},
		{api.TokenFields{TokenPolicies: &names}, nil, `{}`},
	} {
		o.Note(&c.f, c.taken)
		if b, err := json.Marshal(o.Answer(a)); err != nil || string(b) != c.want {
			t.Errorf("after %v: %s, want %s (%v)", c.taken, b, c.want, err)
		}
	}
}
