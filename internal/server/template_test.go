package server_test

import (
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/server/servertest"
)

// A policy whose template nobody has a value for is warned of as it is written.
func TestMistypedTemplateIsWarnedOf(t *testing.T) {
	s := servertest.Start(t)
	s.Want(t, 204, "POST", "sys/auth/userpass", servertest.Root, `{"type":"userpass"}`)
	accessor := s.Want(t, 200, "GET", "sys/auth/userpass", servertest.Root, "").String("data", "accessor")
	for template, warns := range map[string]bool{"identity.entity.name": false, "identity.entity.nam": true, "identity.entity.aliases.auth_nope.name": true, "identity.entity.aliases." + accessor + ".name": false} {
		a := s.Do(t, "POST", "sys/policies/acl/p", servertest.Root, `{"policy":"path \"secret/{{`+template+`}}/*\" { capabilities = [\"read\"] }"}`)
		if a.Status > 204 || strings.Contains(a.Text(), "in force for nobody") != warns {
			t.Errorf("%s: %d %s", template, a.Status, a.Text())
		}
	}
}
