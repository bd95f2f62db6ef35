package compat

import (
	"testing"
	"time"
)

func TestHealth(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		h := must(c.sys.Health())(t)
		equal(t, "initialised, unsealed, active", h.Initialized && !h.Sealed && !h.Standby, true)
		if off := time.Since(time.Unix(h.ServerTimeUTC, 0)); off < -time.Minute || off > time.Minute {
			t.Errorf("server time is %v off", off)
		}
		equal(t, "cluster is named", h.ClusterID != "" && h.ClusterName != "" && h.Version != "", true)
		for query, want := range map[string]int{"": 200, "?activecode=299": 299, "?standbyok=true": 200, "?activecode=many": 400} {
			equal(t, "status of GET health"+query, c.send(t, "GET", "/v1/sys/health"+query, "", "X-Vault-Token", "").status, want)
		}
		a := c.send(t, "HEAD", "/v1/sys/health", "", "X-Vault-Token", "")
		equal(t, "status of HEAD health", a.status, 200)
		equal(t, "body of HEAD health", a.text, "")
	})
}

func TestStatus(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		equal(t, "initialised", must(c.sys.InitStatus())(t), true)
		seal := must(c.sys.SealStatus())(t)
		equal(t, "sealed", seal.Sealed, false)
		equal(t, "initialised by seal-status", seal.Initialized, true)
		equal(t, "version is there", seal.Version != "", true)
		equal(t, "seal type is there", seal.Type != "", true)
		must(c.sys.Leader())(t)
		equal(t, "status of init again", c.send(t, "PUT", "/v1/sys/init", `{"secret_shares":1,"secret_threshold":1}`).status, 400)
	})
}

func TestRotate(t *testing.T) {
	eachClientAlone(t, func(t *testing.T, c *client) {
		must(c.kv2("secret").Put(t.Context(), "app", map[string]any{"n": 1}))(t)
		before := must(c.sys.KeyStatus())(t)
		ok(t, c.sys.Rotate())
		after := must(c.sys.KeyStatus())(t)
		equal(t, "term", after.Term, before.Term+1)
		equal(t, "installed later", after.InstallTime.Before(before.InstallTime), false)
		equal(t, "data of before", must(c.kv2("secret").Get(t.Context(), "app"))(t).Data, map[string]any{"n": 1})
		refused(t, c.bearer(t, `path "sys/rotate" { capabilities = ["update"] }`).sys.Rotate(), 403, "permission denied")
	})
}

// TestVersionGate pins what the Terraform provider reads: a version of at least 1.17.
func TestVersionGate(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		var major, minor int
		must(scan(must(c.sys.SealStatus())(t).Version, "%d.%d", &major, &minor))(t)
		if major < 1 || (major == 1 && minor < 17) {
			t.Errorf("version %d.%d is older than 1.17", major, minor)
		}
	})
}
