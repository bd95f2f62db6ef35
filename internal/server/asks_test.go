package server

import (
	"slices"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
)

// What a method asks others for, for strangers, says so: there are so many of them at once. These alone ask nobody, or ask as
// seldom as internal/issuer does.
func TestLoginsThatAskOthersSaySo(t *testing.T) {
	alone := []string{"approle login", "userpass login/{username}", "jwt login", "jwt cel/login", "oidc login", "oidc cel/login"}
	for _, build := range mountable() {
		e, err := build()
		if err != nil {
			t.Fatal(err)
		}
		for _, ep := range e.Endpoints {
			if e.Auth && ep.Has(api.Public) && ep.Has(api.Asks) == slices.Contains(alone, e.Type+" "+ep.Pattern) {
				t.Errorf("%s %s: asks others is %v", e.Type, ep.Pattern, ep.Has(api.Asks))
			}
		}
	}
}
