package compat

import (
	"fmt"
	"slices"
	"testing"
	"time"

	vault "github.com/hashicorp/vault/api"
)

func TestTokenCreate(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		s := must(c.tokens.Create(&vault.TokenCreateRequest{
			Policies: []string{"default"}, TTL: "1h", DisplayName: "Ann's laptop", Metadata: map[string]string{"team": "red"}, NumUses: 7,
		}))(t)
		equal(t, "policies", s.Auth.Policies, []string{"default"})
		equal(t, "token policies", s.Auth.TokenPolicies, []string{"default"})
		equal(t, "lease seconds", s.Auth.LeaseDuration, 3600)
		equal(t, "renewable", s.Auth.Renewable, true)
		equal(t, "orphan", s.Auth.Orphan, false)
		equal(t, "metadata", s.Auth.Metadata, map[string]string{"team": "red"})
		if s.Auth.ClientToken == "" || s.Auth.Accessor == "" || s.Auth.ClientToken == s.Auth.Accessor {
			t.Errorf("token %d characters, accessor %q", len(s.Auth.ClientToken), s.Auth.Accessor)
		}
		look := must(c.tokens.Lookup(s.Auth.ClientToken))(t).Data
		for field, want := range map[string]any{
			"accessor": s.Auth.Accessor, "creation_ttl": 3600, "display_name": "token-Ann-s-laptop", "entity_id": "",
			"explicit_max_ttl": 0, "id": s.Auth.ClientToken, "meta": map[string]any{"team": "red"}, "num_uses": 7, "orphan": false,
			"path": "auth/token/create", "policies": []any{"default"}, "renewable": true, "type": "service",
		} {
			equal(t, field, look[field], want)
		}
		checkTimes(t, look)
	})
}

func checkTimes(t *testing.T, look map[string]any) {
	t.Helper()
	issued := must(time.Parse(time.RFC3339Nano, fmt.Sprint(look["issue_time"])))(t)
	expires := must(time.Parse(time.RFC3339Nano, fmt.Sprint(look["expire_time"])))(t)
	if ttl := expires.Sub(issued); ttl < 59*time.Minute || ttl > 61*time.Minute {
		t.Errorf("the token lives %v from its issue, want an hour", ttl)
	}
	if left := fmt.Sprint(look["ttl"]); left != "3600" && left != "3599" && left != "3598" {
		t.Errorf("ttl is %s, want just below 3600", left)
	}
}

func TestTokenDefaults(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		s := must(c.tokens.Create(&vault.TokenCreateRequest{}))(t)
		equal(t, "policies of a child of root without its own", s.Auth.Policies, []string{"root"})
		s = must(c.tokens.Create(&vault.TokenCreateRequest{Policies: []string{"default"}}))(t)
		equal(t, "lease seconds", s.Auth.LeaseDuration, 2764800)
		s = must(c.tokens.Create(&vault.TokenCreateRequest{Policies: []string{"b", "A", "b"}, TTL: "5m"}))(t)
		equal(t, "policies are lower case, sorted, single, with default", s.Auth.Policies, []string{"a", "b", "default"})
		s = must(c.tokens.Create(&vault.TokenCreateRequest{Policies: []string{"a"}, NoDefaultPolicy: true, TTL: "5m"}))(t)
		equal(t, "policies without default", s.Auth.Policies, []string{"a"})
		no := false
		s = must(c.tokens.Create(&vault.TokenCreateRequest{Policies: []string{"a"}, Renewable: &no, TTL: "5m"}))(t)
		equal(t, "renewable", s.Auth.Renewable, false)
	})
}

func TestTokenRefusals(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		_, err := c.tokens.Create(&vault.TokenCreateRequest{TTL: "sometime"})
		refused(t, err, 400, "")
		_, err = c.tokens.Create(&vault.TokenCreateRequest{Type: "paper"})
		refused(t, err, 400, "")
		_, err = c.tokens.Create(&vault.TokenCreateRequest{NumUses: -1})
		refused(t, err, 400, "number of uses cannot be negative")
		weak := c.bearer(t, `path "auth/token/create" { capabilities = ["update"] }`)
		_, err = weak.tokens.Create(&vault.TokenCreateRequest{Policies: []string{"root"}})
		refused(t, err, 400, "child policies must be subset of parent")
		_, err = weak.tokens.Create(&vault.TokenCreateRequest{ID: "chosen"})
		refused(t, err, 400, "root or sudo privileges required to specify token id")
		_, err = weak.tokens.CreateOrphan(&vault.TokenCreateRequest{})
		refused(t, err, 403, "permission denied")
	})
}

func TestTokenLookups(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		s := must(c.tokens.Create(&vault.TokenCreateRequest{Policies: []string{"default"}, TTL: "1h"}))(t)
		equal(t, "own accessor", must(c.as(t, s.Auth.ClientToken).tokens.LookupSelf())(t).Data["accessor"], s.Auth.Accessor)
		byAccessor := must(c.tokens.LookupAccessor(s.Auth.Accessor))(t).Data
		equal(t, "accessor", byAccessor["accessor"], s.Auth.Accessor)
		equal(t, "the token itself, by its accessor", byAccessor["id"], "")
		root := must(c.tokens.LookupSelf())(t).Data
		equal(t, "policies of root", root["policies"], []any{"root"})
		equal(t, "ttl of root", root["ttl"], 0)
		equal(t, "expiry of root", root["expire_time"], nil)
		_, err := c.tokens.Lookup("hvs.never-issued")
		refused(t, err, 403, "bad token")
		_, err = c.tokens.LookupAccessor("never-issued")
		refused(t, err, 400, "invalid accessor")
		_, err = c.as(t, "hvs.never-issued").tokens.LookupSelf()
		refused(t, err, 403, "permission denied")
		_, err = c.as(t, "").tokens.LookupSelf()
		refused(t, err, 403, "permission denied")
		list := keys(t, must(c.logical.List("auth/token/accessors"))(t))
		equal(t, "accessor listed", slices.Contains(list, s.Auth.Accessor), true)
	})
}

func TestTokenRenew(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		s := must(c.tokens.Create(&vault.TokenCreateRequest{Policies: []string{"default"}, TTL: "1h"}))(t)
		token := s.Auth.ClientToken
		equal(t, "lease seconds without an increment", must(c.tokens.Renew(token, 0))(t).Auth.LeaseDuration, 3600)
		renewed := must(c.tokens.Renew(token, 7200))(t)
		equal(t, "lease seconds", renewed.Auth.LeaseDuration, 7200)
		equal(t, "token", renewed.Auth.ClientToken, token)
		equal(t, "accessor", renewed.Auth.Accessor, s.Auth.Accessor)
		equal(t, "lease seconds by itself", must(c.as(t, token).tokens.RenewSelf(600))(t).Auth.LeaseDuration, 600)
		equal(t, "lease seconds as itself", must(c.tokens.RenewTokenAsSelf(token, 900))(t).Auth.LeaseDuration, 900)
		byAccessor := must(c.tokens.RenewAccessor(s.Auth.Accessor, 1200))(t)
		equal(t, "lease seconds by accessor", byAccessor.Auth.LeaseDuration, 1200)
		equal(t, "the token itself, by its accessor", byAccessor.Auth.ClientToken, "")
		_, err := c.tokens.Renew("hvs.never-issued", 60)
		refused(t, err, 400, "token not found")
		no := false
		stiff := must(c.tokens.Create(&vault.TokenCreateRequest{Policies: []string{"default"}, TTL: "1h", Renewable: &no}))(t)
		_, err = c.tokens.Renew(stiff.Auth.ClientToken, 60)
		refused(t, err, 400, "lease is not renewable")
	})
}

func TestTokenExplicitMaximum(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		s := must(c.tokens.Create(&vault.TokenCreateRequest{Policies: []string{"default"}, TTL: "5m", ExplicitMaxTTL: "10m"}))(t)
		equal(t, "lease seconds", s.Auth.LeaseDuration, 300)
		equal(t, "explicit_max_ttl", must(c.tokens.Lookup(s.Auth.ClientToken))(t).Data["explicit_max_ttl"], 600)
		renewed := must(c.tokens.Renew(s.Auth.ClientToken, 86400))(t)
		if left := renewed.Auth.LeaseDuration; left > 600 || left < 590 {
			t.Errorf("renewed for %d seconds, want at most the explicit maximum of 600", left)
		}
		equal(t, "warned", len(renewed.Warnings) > 0, true)
		s = must(c.tokens.Create(&vault.TokenCreateRequest{Policies: []string{"default"}, TTL: "1h", ExplicitMaxTTL: "10m"}))(t)
		equal(t, "lease seconds above the maximum", s.Auth.LeaseDuration, 600)
	})
}

func TestTokenPeriod(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		s := must(c.tokens.Create(&vault.TokenCreateRequest{Policies: []string{"default"}, Period: "30m"}))(t)
		equal(t, "lease seconds", s.Auth.LeaseDuration, 1800)
		equal(t, "renewed whatever the increment", must(c.tokens.Renew(s.Auth.ClientToken, 86400))(t).Auth.LeaseDuration, 1800)
		equal(t, "period", must(c.tokens.Lookup(s.Auth.ClientToken))(t).Data["period"], 1800)
	})
}

func TestTokenUses(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		s := must(c.tokens.Create(&vault.TokenCreateRequest{Policies: []string{"default"}, TTL: "1h", NumUses: 2}))(t)
		holder := c.as(t, s.Auth.ClientToken)
		equal(t, "uses left at the first use", must(holder.tokens.LookupSelf())(t).Data["num_uses"], 1)
		must(holder.tokens.LookupSelf())(t)
		_, err := holder.tokens.LookupSelf()
		refused(t, err, 403, "permission denied")
	})
}

func TestTokenBatch(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		s := must(c.tokens.Create(&vault.TokenCreateRequest{Policies: []string{"default"}, TTL: "10m", Type: "batch"}))(t)
		equal(t, "accessor", s.Auth.Accessor, "")
		equal(t, "renewable", s.Auth.Renewable, false)
		equal(t, "lease seconds", s.Auth.LeaseDuration, 600)
		look := must(c.as(t, s.Auth.ClientToken).tokens.LookupSelf())(t)
		equal(t, "type", look.Data["type"], "batch")
		equal(t, "policies", look.Data["policies"], []any{"default"})
		_, err := c.tokens.Renew(s.Auth.ClientToken, 60)
		refused(t, err, 400, "batch tokens cannot be renewed")
		refused(t, c.tokens.RevokeTree(s.Auth.ClientToken), 400, "batch tokens cannot be revoked")
		_, err = c.tokens.Create(&vault.TokenCreateRequest{Policies: []string{"default"}, Type: "batch", NumUses: 3, TTL: "10m"})
		refused(t, err, 400, "batch")
	})
}
