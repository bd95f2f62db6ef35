package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/strongroom/strongroom/internal/barrier"
	"github.com/strongroom/strongroom/internal/lease"
	"github.com/strongroom/strongroom/internal/seal"
	"github.com/strongroom/strongroom/internal/snapshot"
	"github.com/strongroom/strongroom/internal/snapshot/framed"
	"github.com/strongroom/strongroom/internal/store"
)

// restoreCommand puts a snapshot into a store that no server runs on.
func restoreCommand() *cobra.Command {
	f, gone, dry := &flags{}, false, false
	c := &cobra.Command{
		Use:   "restore SNAPSHOT",
		Short: "Put a snapshot into an empty store",
		Long: `Put a snapshot into an empty store.

The store is that of -config or -data, of any kind, and holds nothing yet; data is
never replaced. The snapshot is read once to see that it is whole, and then again.
A restore that was interrupted is done again: until then the store says so, and can
be neither initialised nor unsealed. Afterwards start the server: the snapshot's own
key slots unseal it, and the first unsealing finds out whether what was restored is
what was saved.

Leases that come along, such as database users, are held: this store does not take them
back until "operator snapshot resume" says so, since the cluster that the snapshot was
taken from may still lend them. With -source-is-gone they are not held.

To restore into a running server that has not been initialised, such as one with a
member of etcd in it: operator raft snapshot restore.`,
		Example:     "  strongroom operator snapshot restore -dry-run -config=strongroom.hcl strongroom.snap\n  strongroom operator snapshot restore -config=strongroom.hcl strongroom.snap\n  strongroom operator snapshot restore -data=DIR strongroom.snap",
		Args:        cobra.ExactArgs(1),
		Annotations: map[string]string{"family": "operator snapshot"},
		RunE:        func(cmd *cobra.Command, args []string) error { return runRestore(cmd, f, args[0], gone, dry) },
	}
	fs := c.Flags()
	fs.StringArrayVar(&f.configs, "config", nil, "configuration `FILE` of the server; may be repeated")
	fs.StringVar(&f.data, "data", "", "`DIR` of the embedded store")
	fs.BoolVar(&dry, "dry-run", false, "show what would be restored, and change nothing: the store is not opened")
	fs.BoolVar(&gone, "source-is-gone", false, "the cluster that the snapshot was taken from has ended for good: do not hold leases")
	return c
}

func runRestore(cmd *cobra.Command, f *flags, name string, gone, dry bool) (err error) {
	c, err := f.restoreConfig()
	if err != nil {
		return err
	}
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	whole, err := framed.Verify(file)
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err == nil {
		err = c.checkRestorable(whole.Header().Cluster)
	}
	if err != nil {
		return fmt.Errorf("%s: %w; nothing was changed", name, err)
	}
	if dry {
		return tellRestorable(cmd, whole)
	}
	ownOnly()
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	r, err := framed.NewReader(file)
	if err != nil {
		return err
	}
	done, err := c.restore(ctx, NewLogger(c, cmd.ErrOrStderr()), r, gone)
	if err != nil {
		return snapshot.Refused(err)
	}
	return c.tellRestored(cmd, done)
}

// tellRestorable tells what would be restored.
func tellRestorable(cmd *cobra.Command, r *framed.Reader) error {
	h := r.Header()
	claim, _ := r.Claim()
	taken := h.Taken.UTC().Format(time.RFC3339)
	found := map[string]any{"would_restore": map[string]any{"cluster_id": h.Cluster, "revision": h.Revision, "taken": taken, "rows": claim.Rows, "bytes": claim.Bytes}}
	return report(cmd, found, fmt.Sprintf("Would restore %d rows of cluster %s, as of %s. The file is whole; the store was not opened, so that whether\n"+
		"it is empty is not known. Nothing was changed.\n", claim.Rows, h.Cluster, taken))
}

// restoreConfig is the configuration of a store that a process of its own can open.
func (f *flags) restoreConfig() (*Config, error) {
	if f.data == "" && len(f.configs) == 0 {
		return nil, errors.New("say which store: -config=FILE, or -data=DIR; to restore through a running server: strongroom operator raft snapshot restore SNAPSHOT")
	}
	c, err := f.config()
	switch {
	case err != nil:
		return nil, err
	case c.Shared == nil && c.DataDir == "":
		return nil, errors.New("the configuration's store is in memory, and gone when this command ends: name another")
	case c.Shared != nil && c.Shared.Member != nil && len(c.Shared.Member.Members) > 1:
		return nil, errors.New("the configuration's store is in the servers themselves: start them, do not initialise them, and run: strongroom operator raft snapshot restore SNAPSHOT")
	}
	if c.LogLevel == "" {
		c.LogLevel = "warn"
	}
	return c, nil
}

// checkRestorable refuses a data directory that was used for another cluster.
func (c *Config) checkRestorable(cluster string) error {
	if c.DataDir == "" {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(c.DataDir, markerFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading which cluster the data directory belongs to: %w", err)
	}
	if was := strings.TrimSpace(string(text)); was != cluster {
		return fmt.Errorf("%s was used for cluster %s, and the snapshot is of cluster %s: use an empty directory", c.DataDir, was, cluster)
	}
	return nil
}

// restore opens the configured store, restores, and closes it.
func (c *Config) restore(ctx context.Context, log *slog.Logger, r *framed.Reader, gone bool) (done *snapshot.Overview, err error) {
	st, err := c.openStore(ctx, log)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, st.engine.Close()) }()
	if done, err = snapshot.Restore(ctx, st.engine, r, gone, time.Now); err != nil {
		return nil, err
	}
	done.KeySlots, err = c.slotsOf(ctx, st.engine)
	return done, err
}

// slotsOf are the key slots of a store that is not unsealed.
func (c *Config) slotsOf(ctx context.Context, s store.Store) ([]snapshot.Slot, error) {
	return snapshot.Slots(ctx, seal.NewManager(barrier.New(s, time.Now), s, c.slotKinds(), time.Now))
}

func (c *Config) tellRestored(cmd *cobra.Command, done *snapshot.Overview) error {
	text := fmt.Sprintf("Success! Restored %d rows of cluster %s, as of %s.\n\nAny one of these unseals it:\n", done.Rows, done.Cluster, done.Taken)
	for _, s := range done.KeySlots {
		switch {
		case s.KeyFile != "":
			text += fmt.Sprintf("  the key file %s of the old server%s\n", s.KeyFile, c.keyPlace())
		case s.Threshold > 0:
			text += fmt.Sprintf("  %d of %d unseal keys%s\n", s.Threshold, s.Shares, named(s.Name))
		default:
			text += fmt.Sprintf("  a key slot of kind %s%s\n", s.Kind, named(s.Name))
		}
	}
	if done.Held {
		text += "\nLeases that came along are held: the cluster that the snapshot was taken from may still\nlend them. When that one has ended for good, start this one and run: " + lease.Resume + "\n"
	}
	text += "\nAudit devices that were declared through the API came along. Where one of them writes a file that is not below\n" +
		"an audit directory of this server, every request is refused: name that directory with -audit-dir=DIR, or with\naudit_directory in the configuration. This server's are: " +
		cmp.Or(strings.Join(c.AuditDirs, ", "), "none") + "\n"
	return report(cmd, done, text+"\nStart the server now.\n")
}

// named is a name in brackets, if there is one.
func named(name string) string {
	if name == "" {
		return ""
	}
	return " (" + name + ")"
}

// keyPlace says where the server looks for key files, if it does.
func (c *Config) keyPlace() string {
	if _, ok := c.slotKinds()[seal.KindFile]; !ok {
		return ": add seal \"file\" { path = \"DIR\" } to the configuration, and copy it there"
	}
	return ": copy it to " + c.slotDir()
}
