package cli

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/strongroom/strongroom/client"
	"github.com/strongroom/strongroom/internal/snapshot/framed"
)

// Where the server sends and takes snapshots: bare, and in the archive that clients of
// the Vault API look into.
const (
	snapshotPath = "sys/snapshot"
	archivePath  = "sys/storage/raft/snapshot"
)

// snapshotCommands are those of operator snapshot. Its restore opens a store by itself
// and so is the server's.
func snapshotCommands() command {
	return command{
		use: "snapshot", short: "Copy the whole store while it is used, and check such copies",
		example: "operator snapshot save strongroom.snap\noperator snapshot verify -server strongroom.snap\noperator snapshot restore -config=strongroom.hcl strongroom.snap",
		subs:    []command{snapshotSave("operator snapshot", snapshotPath, false), snapshotInspect("operator snapshot"), snapshotVerify(), snapshotResume()},
	}
}

// raftCommands are spelt as Vault spells them. Snapshots are of any store.
func raftCommands() command {
	const why, remedy = "there are no raft peers: a node keeps nothing of its own beside its store",
		"to add a node, start one on the same store; operator nodes lists them; operator snapshot copies the store"
	return command{
		use: "raft", short: "Copy the whole store, as Vault spells it",
		example: "operator raft snapshot save strongroom.snap",
		subs: append(in("operator raft",
			refusal("list-peers", "Refused: there are no raft peers", why, remedy),
			refusal("join", "Refused: there are no raft peers", why, remedy),
			refusal("remove-peer", "Refused: there are no raft peers", why, remedy),
			refusal("promote", "Refused: there are no raft peers", why, remedy),
			refusal("demote", "Refused: there are no raft peers", why, remedy),
			refusal("autopilot", "Refused: there are no raft peers", why, remedy)),
			command{
				use: "snapshot", short: "Copy the whole store, as Vault spells it",
				example: "operator raft snapshot save strongroom.snap\noperator raft snapshot restore -dry-run strongroom.snap",
				subs:    []command{snapshotSave("operator raft snapshot", archivePath, true), snapshotRestore(), snapshotInspect("operator raft snapshot")},
			}),
	}
}

func snapshotSave(family, from string, replace bool) command {
	force := replace
	long := "It is a consistent copy of all that is stored, encrypted as it lies there, with the\n" +
		"key slots; writes go on meanwhile. FILE appears once the copy is whole and on disk; with\n" +
		"- it goes to standard output, and is whole when the exit code is 0. The token needs sudo."
	return command{
		use: "save FILE", short: "Save a copy of the whole store to a file", args: exactly(1),
		long: long, example: family + " save strongroom.snap",
		flags: func(f *pflag.FlagSet) {
			f.BoolVar(&force, "force", force, "replace FILE if there is one")
		},
		check: func(c *call) error {
			if c.args[0] == "-" {
				return c.takesBytes()
			}
			if _, err := os.Lstat(c.args[0]); err == nil && !force {
				return &exit{exitLocal, "Error: there is a file " + c.args[0], "choose another name, or replace it with -force"}
			}
			return nil
		},
		run: connected(func(c *call, cl *client.Client) error {
			ctx, stop := signal.NotifyContext(c.ctx, os.Interrupt, syscall.SIGTERM)
			defer stop()
			body, err := cl.Stream(ctx, client.Request{Path: from})
			if err != nil {
				return failed(err, "asking for a snapshot")
			}
			if c.args[0] == "-" {
				_, err := framed.Verify(io.TeeReader(body, c.stdout))
				return failed(errors.Join(err, body.Close()), "saving the snapshot, of which what came is not whole")
			}
			r, err := c.keep(c.args[0], body, force)
			if err = errors.Join(err, body.Close()); err != nil {
				return failed(err, "saving the snapshot, of which nothing was kept")
			}
			fields, err := toMap(detailsOf(r))
			if err != nil {
				return err
			}
			return c.show(detailsOf(r), fields, func() error {
				claim, _ := r.Claim()
				return c.println(fmt.Sprintf("Success! Saved %d rows, %d bytes, to %s", claim.Rows, claim.Bytes, c.args[0]))
			})
		}),
	}
}

// takesBytes refuses to fill a terminal with a snapshot.
func (c *call) takesBytes() error {
	if c.onTerminal() {
		return &exit{exitLocal, "Error: a snapshot is nothing for a terminal", "name a file, or send standard output somewhere"}
	}
	return nil
}

// keep writes a snapshot to a file that is there only once it is whole and durable.
func (c *call) keep(name string, body io.Reader, force bool) (*framed.Reader, error) {
	dir := filepath.Dir(name)
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(name)+".partial-*") // 0600
	if err != nil {
		return nil, err
	}
	r, err := framed.Verify(io.TeeReader(c.watched(body), tmp))
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = place(tmp.Name(), name, force)
	}
	if err == nil {
		return r, syncDir(dir)
	}
	return nil, errors.Join(err, ignoring(os.Remove(tmp.Name()), fs.ErrNotExist))
}

// place gives a file its name; without force not that of another.
func place(tmp, name string, force bool) error {
	if force {
		return os.Rename(tmp, name)
	}
	if err := os.Link(tmp, name); err != nil {
		return err
	}
	return os.Remove(tmp)
}

// syncDir makes the names in a directory durable.
func syncDir(name string) error {
	dir, err := os.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// watched shows on a terminal how much has been read.
func (c *call) watched(r io.Reader) io.Reader {
	f, ok := c.stderr.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return r
	}
	return &progress{r: r, to: f}
}

const progressStep = 8 << 20

type progress struct {
	r    io.Reader
	to   io.Writer
	n    int64
	told int64
}

func (p *progress) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.n += int64(n)
	if p.n-p.told >= progressStep {
		p.told = p.n
		fmt.Fprintf(p.to, "\r%d MiB", p.n>>20)
	}
	if err != nil && p.told > 0 {
		p.told = 0
		fmt.Fprintln(p.to)
	}
	return n, err
}

// details are what there is to say of a snapshot.
type details struct {
	framed.Header
	Rows   uint64 `json:"rows"`
	Bytes  uint64 `json:"bytes"`
	SHA256 string `json:"sha256"` // of all rows
}

func detailsOf(r *framed.Reader) details {
	claim, _ := r.Claim()
	return details{r.Header(), claim.Rows, claim.Bytes, hex.EncodeToString(claim.Content[:])}
}

// opened reads a snapshot in a file to its end.
func (c *call) opened(name string) (*framed.Reader, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	r, err := framed.Verify(c.watched(f))
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, failed(err, "reading %s", name)
	}
	return r, nil
}

func snapshotInspect(family string) command {
	return command{
		use: "inspect FILE", short: "Tell of what a snapshot is", args: exactly(1),
		long:    "The whole file is read, and refused unless it is whole. No server is asked.",
		example: family + " inspect strongroom.snap",
		run: func(c *call) error {
			r, err := c.opened(c.args[0])
			if err != nil {
				return err
			}
			return c.describe(r)
		},
	}
}

func (c *call) describe(r *framed.Reader) error {
	d := detailsOf(r)
	fields, err := toMap(d)
	if err != nil {
		return err
	}
	return c.show(d, fields, func() error {
		return c.rows([][]string{
			{"Cluster ID", d.Cluster}, {"Taken", d.Taken.UTC().Format(time.RFC3339)}, {"Revision", fmt.Sprint(d.Revision)},
			{"Store", d.Engine}, {"Version", d.Version}, {"Format", fmt.Sprint(d.Format)}, {"Key Slots", fmt.Sprint(d.KeySlots)},
			{"Rows", fmt.Sprint(d.Rows)}, {"Bytes", fmt.Sprint(d.Bytes)}, {"SHA-256", d.SHA256},
		})
	})
}

func snapshotVerify() command {
	var server bool
	return command{
		use: "verify FILE", short: "Check that a snapshot is whole and, with -server, genuine", args: exactly(1),
		long: "Without -server no key and no server is needed: each byte is checked against the\n" +
			"sums in the file, so that a file that was cut short or has rotted is found. With\n" +
			"-server the server, whose cluster the snapshot is of, also says whether it was made\n" +
			"with the cluster's keys; nothing but sums is sent. The token needs sudo for that.",
		example: "operator snapshot verify strongroom.snap\noperator snapshot verify -server strongroom.snap",
		flags: func(f *pflag.FlagSet) {
			f.BoolVar(&server, "server", false, "have the server say whether it is genuine")
		},
		run: func(c *call) error {
			r, err := c.opened(c.args[0])
			if err != nil {
				return err
			}
			if !server {
				return c.verified(r, map[string]any{"whole": true}, "is whole")
			}
			return connected(func(c *call, cl *client.Client) error { return c.genuine(cl, r) })(c)
		},
	}
}

// genuine asks whether a snapshot was made with the keys of the server's cluster.
func (c *call) genuine(cl *client.Client, r *framed.Reader) error {
	claim, mac := r.Claim()
	text := base64.StdEncoding.EncodeToString
	s, err := cl.Write(c.ctx, snapshotPath+"/verify", map[string]any{
		"header": text(claim.Header), "rows": claim.Rows, "bytes": claim.Bytes, "content": text(claim.Content[:]), "mac": text(mac),
	})
	if err != nil {
		return failed(err, "asking whether the snapshot is genuine")
	}
	if s == nil || s.Data["genuine"] != true {
		return &exit{exitServer, "Error: the snapshot is whole, and was not made with this server's keys",
			"ask a server of the cluster " + r.Header().Cluster + "; if this is one, do not restore the snapshot"}
	}
	return c.verified(r, map[string]any{"whole": true, "genuine": true}, "is whole and genuine")
}

// verified tells people that a snapshot is as it should be, and programs what it is of besides.
func (c *call) verified(r *framed.Reader, found map[string]any, is string) error {
	fields, err := toMap(detailsOf(r))
	if err != nil {
		return err
	}
	maps.Copy(fields, found)
	return c.show(fields, fields, func() error { return c.println("Success! " + c.args[0] + " " + is + ".") })
}

// quarantinePath is where a restored store's leases are held.
const quarantinePath = "sys/leases/quarantine"

func snapshotResume() command {
	var status bool
	return command{
		use: "resume", short: "Take back the leases that came with a restored snapshot", args: exactly(0),
		long: "A restored store holds the leases that came along, such as database users: it does not\n" +
			"take them back, since the cluster that the snapshot was taken from may still lend them.\n" +
			"Run this once that cluster has ended for good: what has expired is taken back then, and\n" +
			"from then on each lease at its time. The token needs sudo. -status changes nothing.",
		example: "operator snapshot resume -status\noperator snapshot resume",
		flags:   func(f *pflag.FlagSet) { f.BoolVar(&status, "status", false, "only tell whether leases are held") },
		run: connected(func(c *call, cl *client.Client) error {
			if status {
				s, err := cl.Read(c.ctx, quarantinePath, nil)
				if err != nil {
					return failed(err, "asking whether leases are held")
				}
				return c.showHeld(s)
			}
			s, err := cl.Delete(c.ctx, quarantinePath, nil)
			if err != nil {
				return failed(err, "resuming")
			}
			return c.showHeld(s)
		}),
	}
}

// showHeld tells of the leases of a restored store.
func (c *call) showHeld(s *client.Secret) error {
	if s == nil || s.Data["held"] == nil {
		return &exit{exitServer, "Error: the answer does not say whether leases are held", "ask again, without -wrap-ttl: strongroom operator snapshot resume -status"}
	}
	return c.show(s.Data, s.Data, func() error {
		switch {
		case s.Data["held"] == true:
			return c.println(fmt.Sprintf("Leases are held since the restore at %s of a snapshot taken at %s.", cell(s.Data["restored"]), cell(s.Data["taken"])))
		case s.Data["resumed"] != nil:
			return c.println(fmt.Sprintf("Leases are taken back at their time, since %s.", cell(s.Data["resumed"])))
		}
		return c.println("Leases are taken back at their time: no restore holds them.")
	})
}

func snapshotRestore() command {
	var force, gone bool
	var dry dryRun
	return command{
		use: "restore FILE", short: "Put a snapshot into the empty store of a running server", args: exactly(1),
		long: "The server must not have been initialised. Afterwards it is sealed, and the snapshot's\n" +
			"own key slots unseal it. Data is never replaced, with -force neither.\n" +
			"Leases that come along are held, until operator snapshot resume; with -source-is-gone\n" +
			"they are not. To restore where no server runs: operator snapshot restore.",
		example: "operator raft snapshot restore -dry-run strongroom.snap\noperator raft snapshot restore strongroom.snap",
		flags: func(f *pflag.FlagSet) {
			f.BoolVar(&dry.on, "dry-run", false, "show what would be restored, and change nothing")
			f.BoolVar(&force, "force", false, "accepted for compatibility")
			f.BoolVar(&gone, "source-is-gone", false, "the cluster that the snapshot was taken from has ended for good: do not hold leases")
		},
		run: connected(func(c *call, cl *client.Client) error {
			r, err := c.opened(c.args[0])
			if err != nil {
				return err
			}
			if dry.on {
				return c.wouldRestore(cl, r)
			}
			f, err := os.Open(c.args[0])
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(c.ctx, os.Interrupt, syscall.SIGTERM)
			defer stop()
			err = c.send(ctx, cl, f, r, gone)
			return errors.Join(failed(err, "restoring the snapshot"), f.Close())
		}),
	}
}

// wouldRestore tells what would be put where, and whether the server would take it.
func (c *call) wouldRestore(cl *client.Client, r *framed.Reader) error {
	done, err := cl.Sys().Initialized(c.ctx)
	if err != nil {
		return failed(err, "asking whether the store is initialised")
	}
	if done {
		return &exit{exitServer, "Error: the server at " + cl.Address() + " has been initialised: nothing is restored into it",
			"a snapshot goes into an empty store: start a server on one"}
	}
	d := detailsOf(r)
	data := map[string]any{"would_restore": d, "address": cl.Address()}
	return c.would(data, "put %d rows of cluster %s, as of %s, into the empty store of %s.", d.Rows, d.Cluster, d.Taken.UTC().Format(time.RFC3339), cl.Address())
}

func (c *call) send(ctx context.Context, cl *client.Client, f *os.File, r *framed.Reader, gone bool) error {
	req, held := client.Request{Method: http.MethodPost, Path: archivePath}, ""
	if gone {
		req.Query = url.Values{"source_is_gone": {"true"}}
	} else {
		held = "\n\nLeases that came along are held: the cluster that the snapshot was taken from may still\n" +
			"lend them. When that one has ended for good: " + c.name + " operator snapshot resume"
	}
	if _, err := cl.Upload(ctx, req, c.watched(f)); err != nil {
		return err
	}
	fields, err := toMap(detailsOf(r))
	if err != nil {
		return err
	}
	fields["leases_held"] = !gone
	return c.show(fields, fields, func() error {
		return c.println(fmt.Sprintf("Success! The snapshot was restored. The server is sealed: the unseal keys of the\n"+
			"snapshot's cluster unseal it, with: %s operator unseal%s", c.name, held))
	})
}
