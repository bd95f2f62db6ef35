package compat

import (
	"testing"

	vault "github.com/hashicorp/vault/api"
)

func TestMounts(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		name := unique("kv")
		ok(t, c.sys.Mount(name, &vault.MountInput{
			Type: "kv", Description: "of the team", Options: map[string]string{"version": "2"},
			Config: vault.MountConfigInput{DefaultLeaseTTL: "1h", MaxLeaseTTL: "2h"},
		}))
		m := must(c.sys.ListMounts())(t)[name+"/"]
		if m == nil {
			t.Fatal("the mount is not listed under its path with a slash")
		}
		equal(t, "type", m.Type, "kv")
		equal(t, "description", m.Description, "of the team")
		equal(t, "options", m.Options, map[string]string{"version": "2"})
		equal(t, "default lease seconds", m.Config.DefaultLeaseTTL, 3600)
		equal(t, "max lease seconds", m.Config.MaxLeaseTTL, 7200)
		equal(t, "uuid and accessor are there", m.UUID != "" && m.Accessor != "", true)
		refused(t, c.sys.Mount(name, &vault.MountInput{Type: "kv"}), 400, "path is already in use at "+name+"/")
		refused(t, c.sys.Mount(name+"/below", &vault.MountInput{Type: "kv"}), 400, "path is already in use at "+name+"/")
		ok(t, c.sys.Unmount(name))
		ok(t, c.sys.Unmount(name))
		equal(t, "still listed", must(c.sys.ListMounts())(t)[name+"/"] != nil, false)
		_, err := c.logical.Write(name+"/data/x", map[string]any{"data": map[string]any{}})
		refused(t, err, 404, "no handler for route")
	})
}

func TestMountsOfTheStart(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		mounts := must(c.sys.ListMounts())(t)
		for path, engine := range map[string]string{"sys/": "system", "cubbyhole/": "cubbyhole", "secret/": "kv"} {
			if mounts[path] == nil {
				t.Errorf("%s is not mounted", path)
				continue
			}
			equal(t, "type of "+path, mounts[path].Type, engine)
		}
		if must(c.sys.ListAuth())(t)["token/"] == nil {
			t.Error("auth/token is not mounted")
		}
	})
}

func TestMountRefusals(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		refused(t, c.sys.Mount(unique("x"), &vault.MountInput{Type: "nosuch"}), 400, "plugin not found in the catalog")
		refused(t, c.sys.Mount("sys/x", &vault.MountInput{Type: "kv"}), 400, "cannot mount")
		refused(t, c.sys.Mount("auth/x", &vault.MountInput{Type: "kv"}), 400, "cannot mount")
		refused(t, c.sys.Unmount("sys"), 400, "")
		refused(t, c.sys.Unmount("cubbyhole"), 400, "")
		refused(t, c.as(t, "").sys.Mount(unique("kv"), &vault.MountInput{Type: "kv"}), 403, "permission denied")
	})
}

func TestMountTune(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		name, said := c.mounted(t, "kv", nil), "tuned"
		ok(t, c.sys.TuneMount(name, vault.MountConfigInput{
			DefaultLeaseTTL: "30m", MaxLeaseTTL: "90m", Description: &said, ListingVisibility: "unauth",
			AuditNonHMACRequestKeys: []string{"plain"}, PassthroughRequestHeaders: []string{"X-Trace"},
		}))
		config := must(c.sys.MountConfig(name))(t)
		equal(t, "default lease seconds", config.DefaultLeaseTTL, 1800)
		equal(t, "max lease seconds", config.MaxLeaseTTL, 5400)
		equal(t, "listing visibility", config.ListingVisibility, "unauth")
		equal(t, "plain audit keys", config.AuditNonHMACRequestKeys, []string{"plain"})
		equal(t, "passed headers", config.PassthroughRequestHeaders, []string{"X-Trace"})
		equal(t, "description", must(c.sys.ListMounts())(t)[name+"/"].Description, "tuned")
		refused(t, c.sys.TuneMount(name, vault.MountConfigInput{DefaultLeaseTTL: "soon"}), 400, "")
		_, err := c.sys.MountConfig(unique("none"))
		refused(t, err, 400, "")
		must(c.logical.Write("sys/mounts/"+name+"/tune", map[string]any{"options": map[string]any{"version": "2"}}))(t)
		equal(t, "options after the upgrade", must(c.sys.ListMounts())(t)[name+"/"].Options, map[string]string{"version": "2"})
	})
}

func TestRemount(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		from, kv := c.freshKV2(t)
		to := unique("moved")
		must(kv.Put(t.Context(), "app", map[string]any{"n": 1}))(t)
		accessor := must(c.sys.ListMounts())(t)[from+"/"].Accessor
		ok(t, c.sys.Remount(from, to))
		equal(t, "data at the new place", must(c.kv2(to).Get(t.Context(), "app"))(t).Data, map[string]any{"n": 1})
		_, err := kv.Put(t.Context(), "app", map[string]any{"n": 2})
		refused(t, err, 404, "no handler for route")
		equal(t, "accessor", must(c.sys.ListMounts())(t)[to+"/"].Accessor, accessor)
		_, err = c.sys.StartRemount(from, unique("moved"))
		refused(t, err, 400, "no matching mount")
		_, err = c.sys.StartRemount(to, "sys/x")
		refused(t, err, 400, "sys/x")
		_, err = c.sys.StartRemount(to, "secret")
		refused(t, err, 400, "already in use at")
	})
}

func TestRemountStatus(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		from, to := c.mounted(t, "kv", nil), unique("moved")
		started := must(c.sys.StartRemount(from, to))(t)
		status := must(c.sys.RemountStatus(started.MigrationID))(t)
		equal(t, "migration", status.MigrationID, started.MigrationID)
		equal(t, "from", status.MigrationInfo.SourceMount, from+"/")
		equal(t, "to", status.MigrationInfo.TargetMount, to+"/")
		if s := status.MigrationInfo.MigrationStatus; s != "in-progress" && s != "success" {
			t.Errorf("status is %q", s)
		}
		if _, err := c.sys.RemountStatus("none"); err == nil {
			t.Error("the status of a move that never was is no error")
		}
	})
}

// TestAuthMounts covers auth methods; this server's only type is token, of which a second mount is refused as of any
// unknown type.
func TestAuthMounts(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		method := must(c.sys.ListAuth())(t)["token/"]
		equal(t, "type", method.Type, "token")
		equal(t, "token type", method.Config.TokenType, "default-service")
		refused(t, c.sys.EnableAuthWithOptions(unique("x"), &vault.EnableAuthOptions{Type: "nosuch"}), 400, "plugin not found in the catalog")
		refused(t, c.sys.EnableAuthWithOptions("token", &vault.EnableAuthOptions{Type: "token"}), 400, "")
		refused(t, c.sys.DisableAuth("token"), 400, "token credential backend cannot be disabled")
		ok(t, c.sys.DisableAuth(unique("none")))
	})
}

func TestAuthTune(t *testing.T) {
	eachClientAlone(t, func(t *testing.T, c *client) {
		ok(t, c.sys.TuneMount("auth/token", vault.MountConfigInput{DefaultLeaseTTL: "20m", MaxLeaseTTL: "40m"}))
		config := must(c.sys.MountConfig("auth/token"))(t)
		equal(t, "default lease seconds", config.DefaultLeaseTTL, 1200)
		equal(t, "max lease seconds", config.MaxLeaseTTL, 2400)
		s := must(c.tokens.Create(&vault.TokenCreateRequest{Policies: []string{"default"}}))(t)
		equal(t, "lease seconds of a new token", s.Auth.LeaseDuration, 1200)
		s = must(c.tokens.Create(&vault.TokenCreateRequest{Policies: []string{"default"}, TTL: "3h"}))(t)
		equal(t, "lease seconds above the mount's maximum", s.Auth.LeaseDuration, 2400)
		equal(t, "warned", len(s.Warnings) > 0, true)
	})
}

// TestMountPreflight is what the command line asks to find a mount and its version.
func TestMountPreflight(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		mount, _ := c.freshKV2(t)
		s := must(c.logical.Read("sys/internal/ui/mounts/" + mount + "/some/path"))(t)
		equal(t, "path", s.Data["path"], mount+"/")
		equal(t, "type", s.Data["type"], "kv")
		equal(t, "version", at(s.Data, "options.version"), "2")
		weak := c.bearer(t, `path "other/*" { capabilities = ["read"] }`)
		_, err := weak.logical.Read("sys/internal/ui/mounts/" + mount + "/some/path")
		refused(t, err, 403, "")
		visible := must(weak.logical.Read("sys/internal/ui/mounts"))(t)
		equal(t, "shown to who may not see it", at(visible.Data, "secret."+mount+"/") != nil, false)
	})
}
