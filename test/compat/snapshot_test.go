package compat

import (
	"bytes"
	"context"
	"testing"

	vault "github.com/hashicorp/vault/api"
	bao "github.com/openbao/openbao/api/v2"

	"github.com/strongroom/strongroom/test/process"
)

// TestSnapshots saves a server's store with each client, which looks whether the archive
// has its end, and restores it into another server with the same client.
func TestSnapshots(t *testing.T) {
	for name, use := range map[string]func(t *testing.T, url, token string) (save func(*bytes.Buffer) error, restore func(*bytes.Buffer, bool) error){
		"vault": vaultSnapshots, "openbao": baoSnapshots,
	} {
		t.Run(name, func(t *testing.T) {
			s, err := process.Durable(world.bin, t.TempDir())
			from := owned(t, s, err)
			save, again := use(t, from.URL, from.RootToken())
			var saved bytes.Buffer
			ok(t, save(&saved))
			kept := saved.String()
			if again(bytes.NewBufferString(kept), true) == nil {
				t.Error("a snapshot was restored over data")
			}
			to := uninitialised(t)
			_, restore := use(t, to.URL, "")
			ok(t, restore(bytes.NewBufferString(kept), false))
			cfg := vault.DefaultConfig()
			cfg.Address = to.URL
			status := must(must(vault.NewClient(cfg))(t).Sys().SealStatus())(t)
			equal(t, "initialised and sealed", status.Initialized && status.Sealed, true)
		})
	}
}

func vaultSnapshots(t *testing.T, url, token string) (func(*bytes.Buffer) error, func(*bytes.Buffer, bool) error) {
	t.Helper()
	cfg := vault.DefaultConfig()
	cfg.Address, cfg.MaxRetries = url, 0
	c := must(vault.NewClient(cfg))(t)
	c.SetToken(token)
	return func(b *bytes.Buffer) error { return c.Sys().RaftSnapshot(b) },
		func(b *bytes.Buffer, force bool) error { return c.Sys().RaftSnapshotRestore(b, force) }
}

func baoSnapshots(t *testing.T, url, token string) (func(*bytes.Buffer) error, func(*bytes.Buffer, bool) error) {
	t.Helper()
	cfg := bao.DefaultConfig()
	cfg.Address, cfg.MaxRetries = url, 0
	c := must(bao.NewClient(cfg))(t)
	c.SetToken(token)
	return func(b *bytes.Buffer) error { return c.Sys().RaftSnapshotWithContext(context.Background(), b) },
		func(b *bytes.Buffer, force bool) error {
			return c.Sys().RaftSnapshotRestoreWithContext(context.Background(), b, force)
		}
}
