package compat

import (
	"fmt"
	"testing"

	vault "github.com/hashicorp/vault/api"

	"github.com/strongroom/strongroom/test/process"
)

// scan is fmt.Sscanf, as a value and an error for must.
func scan(text, format string, into ...any) (int, error) { return fmt.Sscanf(text, format, into...) }

// uninitialised starts a server with an empty data directory and a configuration that names Shamir shares, which therefore
// waits to be initialised.
func uninitialised(t *testing.T) *process.Server {
	t.Helper()
	s, err := startDurable(t.TempDir(), `seal "shamir" {}`)
	return owned(t, s, err)
}

func TestInitUnsealSeal(t *testing.T) {
	t.Parallel()
	for name, make := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := make(t, uninitialised(t))
			c.checkUninitialised(t)
			keys := c.initialise(t)
			c.checkSealed(t)
			c.unseal(t, keys)
			must(c.tokens.LookupSelf())(t)
			ok(t, c.sys.Seal())
			c.checkSealed(t)
			c.unseal(t, keys[1:])
			must(c.tokens.LookupSelf())(t)
		})
	}
}

func (c *client) checkUninitialised(t *testing.T) {
	t.Helper()
	equal(t, "initialised", must(c.sys.InitStatus())(t), false)
	equal(t, "status of health", c.send(t, "GET", "/v1/sys/health", "").status, 501)
	seal := must(c.sys.SealStatus())(t)
	equal(t, "initialised by seal-status", seal.Initialized, false)
	equal(t, "sealed", seal.Sealed, true)
	equal(t, "type", seal.Type, "shamir")
	_, err := c.logical.Read("secret/data/app")
	if code, _ := parsed(err); code != 503 {
		t.Errorf("reading from an uninitialised server gave %v, want 503", err)
	}
	for shares, threshold := range map[int]int{0: 0, 2: 3, 256: 2} {
		_, err := c.sys.Init(&vault.InitRequest{SecretShares: shares, SecretThreshold: threshold})
		if code, _ := parsed(err); code != 400 {
			t.Errorf("initialising with %d of %d gave %v, want 400", threshold, shares, err)
		}
	}
}

// initialise makes three shares of which two unseal, and keeps the root token.
func (c *client) initialise(t *testing.T) []string {
	t.Helper()
	made := must(c.sys.Init(&vault.InitRequest{SecretShares: 3, SecretThreshold: 2}))(t)
	equal(t, "shares in hex and in base64", []int{len(made.Keys), len(made.KeysB64)}, []int{3, 3})
	_, err := c.sys.Init(&vault.InitRequest{SecretShares: 3, SecretThreshold: 2})
	refused(t, err, 400, "already initialized")
	c.setToken(made.RootToken)
	return []string{made.Keys[0], made.KeysB64[1], made.KeysB64[2]}
}

func (c *client) checkSealed(t *testing.T) {
	t.Helper()
	seal := must(c.sys.SealStatus())(t)
	equal(t, "sealed", seal.Sealed, true)
	equal(t, "threshold, shares, progress", []int{seal.T, seal.N, seal.Progress}, []int{2, 3, 0})
	equal(t, "status of health", c.send(t, "GET", "/v1/sys/health", "").status, 503)
	equal(t, "status of health on request", c.send(t, "GET", "/v1/sys/health?sealedcode=222", "").status, 222)
	_, err := c.tokens.LookupSelf()
	if code, _ := parsed(err); code != 503 {
		t.Errorf("a sealed server answered %v, want 503", err)
	}
}

// unseal gives a wrong share, is refused a reset without a share in the middle,
// and gives two of the shares.
func (c *client) unseal(t *testing.T, keys []string) {
	t.Helper()
	_, err := c.sys.Unseal("garbage")
	refused(t, err, 400, "")
	equal(t, "progress", must(c.sys.Unseal(keys[0]))(t).Progress, 1)
	equal(t, "progress of the same share", must(c.sys.Unseal(keys[0]))(t).Progress, 1)
	_, err = c.sys.ResetUnsealProcess()
	refused(t, err, 400, "")
	done := must(c.sys.Unseal(keys[1]))(t)
	equal(t, "sealed", done.Sealed, false)
	equal(t, "progress at the end", done.Progress, 0)
}

// TestSealNeedsSudo pins that sealing takes a token with sudo.
func TestSealNeedsSudo(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		refused(t, c.bearer(t, `path "sys/seal" { capabilities = ["update"] }`).sys.Seal(), 403, "permission denied")
		refused(t, c.as(t, "").sys.Seal(), 403, "permission denied")
	})
}
