package introspect

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// versionPrefix is where the store keeps which versions have run on it, one row
// each.
const versionPrefix = "root/version/"

// versionRow is the stored form of a version that has run.
type versionRow struct {
	Installed time.Time `json:"installed"`
	Previous  string    `json:"previous,omitempty"`
	Committed string    `json:"committed,omitempty"` // when its commit was made; empty: it was not told, or by one that did not write this down
}

// VersionRun is when a version first ran on the store.
type VersionRun struct {
	Installed api.Time `json:"timestamp_installed"`
	Previous  *string  `json:"previous_version"` // Null: it was the first.
	Committed string   `json:"commit_date"`      // When its commit was made; empty: not known.
	Built     string   `json:"build_date"`       // The same, by the other name that clients read.
}

// run is a version with its row.
type run struct {
	version string
	versionRow
}

// runs are the versions that have run, the first one first. With store.ErrCorrupt they
// are those whose rows can be read.
func runs(ctx context.Context, s store.Reader) ([]run, error) {
	rows, damaged := s.List(ctx, store.Prefix(versionPrefix))
	if damaged != nil && !errors.Is(damaged, store.ErrCorrupt) {
		return nil, damaged
	}
	out := make([]run, 0, len(rows))
	for _, e := range rows {
		row, err := store.DecodeJSON[versionRow](e)
		if err != nil {
			return nil, err
		}
		out = append(out, run{strings.TrimPrefix(e.Key, versionPrefix), *row})
	}
	slices.SortStableFunc(out, func(a, b run) int {
		return cmp.Or(a.Installed.Compare(b.Installed), strings.Compare(a.version, b.version))
	})
	return out, damaged
}

// RecordVersion writes down that a version runs on the store, unless it has
// before. A row of it that is damaged stays as it is: a server does without. When its commit was
// made is written, too; empty: not known.
func RecordVersion(ctx context.Context, s store.Store, version, committed string, now time.Time) error {
	known, err := runs(ctx, s)
	if errors.Is(err, store.ErrCorrupt) {
		return nil
	}
	if err != nil || slices.ContainsFunc(known, func(r run) bool { return r.version == version }) {
		return err
	}
	row := versionRow{Installed: now.UTC(), Committed: committed}
	if len(known) > 0 {
		row.Previous = known[len(known)-1].version
	}
	b, err := json.Marshal(row)
	if err != nil {
		return err
	}
	_, err = store.Update(ctx, s, func(tx *store.Tx) error {
		e, err := tx.Get(versionPrefix + version)
		if err == nil && !e.Exists() {
			tx.Put(versionPrefix+version, b)
		}
		return err
	})
	return err
}

// versions lists the versions that have run on the store, the first one first,
// each with when it first did.
func (n *Node) versions(c *api.Call, _ *api.None) (*api.Keys, error) {
	all, err := runs(c, n.Store)
	if err != nil {
		return nil, err
	}
	out := &api.Keys{Info: map[string]any{}}
	for _, r := range all {
		shown := &VersionRun{Installed: api.Time{Time: r.Installed}, Committed: r.Committed, Built: r.Committed}
		if r.Previous != "" {
			shown.Previous = &r.Previous
		}
		out.Keys = append(out.Keys, r.version)
		out.Info[r.version] = shown
	}
	return out, nil
}
