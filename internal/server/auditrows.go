package server

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/strongroom/strongroom/internal/audit"
	"github.com/strongroom/strongroom/internal/namespace"
	"github.com/strongroom/strongroom/internal/store"
)

// branchEnv is what audit devices of namespaces are opened in.
func (s *Server) branchEnv(damaged *store.Quarantine) audit.Env {
	return audit.Env{Now: s.now, Home: s.config.AuditHome, Peers: s.config.AuditPeers, Log: s.log,
		Damaged: func(prefix string, keys []string) { damaged.Found(prefix, keys...) }}
}

// sweepBranches closes the audit devices of namespaces that were sealed, locked or deleted.
func (h *house) sweepBranches(ctx context.Context) error {
	if _, err := h.Cache.Fresh(ctx); err != nil {
		return err
	}
	return h.Branches.Sweep(ctx)
}

// auditRows keeps this node's audit devices at what the store says of them: once a
// device is enabled, no node answers a request that it does not have. A device stands open
// beside the caches, and who follows its row may be late.
type auditRows struct {
	rows   *store.Memo[struct{}, string] // which there are, at which revisions
	reload func(context.Context) error
	at     atomic.Pointer[string] // the rows that were loaded last
	mu     sync.Mutex             // held while they are loaded
}

func newAuditRows(cache *store.Cache, d *audit.Devices) *auditRows {
	rows := store.NewMemo(cache, 1, func(ctx context.Context, r store.Reader, _ struct{}) (string, error) {
		in := store.Prefix(namespace.RootID + "/" + audit.WatchPrefix)
		in.KeysOnly = true
		es, err := r.List(ctx, in)
		var text strings.Builder
		for _, e := range es {
			fmt.Fprintf(&text, "%s@%d ", e.Key, e.Rev)
		}
		return text.String(), err
	})
	return &auditRows{rows: rows, reload: d.Reload}
}

// catchUp loads the devices when their rows have changed since, as of no earlier than
// the cache's last Fresh.
func (a *auditRows) catchUp(ctx context.Context) error {
	rows, err := a.rows.Get(ctx, struct{}{})
	if err != nil || a.loaded(rows) {
		return err
	}
	return a.load(ctx, rows)
}

// load loads the devices, unless somebody else has meanwhile.
func (a *auditRows) load(ctx context.Context, rows string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.loaded(rows) {
		return nil
	}
	if err := a.reload(ctx); err != nil {
		return fmt.Errorf("loading the audit devices: %w", err)
	}
	a.at.Store(&rows)
	return nil
}

func (a *auditRows) loaded(rows string) bool {
	at := a.at.Load()
	return at != nil && *at == rows
}
