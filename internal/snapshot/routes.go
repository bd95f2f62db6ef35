package snapshot

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"log/slog"
	"slices"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/fleet"
	"github.com/strongroom/strongroom/internal/snapshot/framed"
	"github.com/strongroom/strongroom/internal/store"
)

// Routes are the endpoints of snapshots, relative to sys/.
func Routes() []api.Route[*Keeper] {
	const need = api.Sudo | api.RootOnly
	return slices.Concat(SealedRoutes(), []api.Route[*Keeper]{
		api.Handle(api.Read, "snapshot", (*Keeper).save, need),
		api.Handle(api.Write, "snapshot/verify", (*Keeper).verify, need),
		api.Handle(api.Read, "storage/raft/snapshot", (*Keeper).saveArchive, need),
	})
}

// SealedRoutes are the endpoints that answer also while the server is sealed, and do
// something only while its store is empty: to whoever may initialise it.
func SealedRoutes() []api.Route[*Keeper] {
	const open = api.Public | api.Sealed | api.RootOnly | api.Upload
	return []api.Route[*Keeper]{
		api.Handle(api.Write, "storage/raft/snapshot", (*Keeper).restore, open),
		api.Handle(api.Write, "storage/raft/snapshot-force", (*Keeper).restoreForce, open),
	}
}

// save sends a snapshot of the whole store as it is at this moment, encrypted as it
// lies there. An answer that is cut off has no end, and no tool takes it for a snapshot.
func (k *Keeper) save(c *api.Call, _ *api.None) (*api.Raw, error) { return k.stream(c, k.Save) }

// saveArchive sends a snapshot in an archive, as clients of Vault expect it.
func (k *Keeper) saveArchive(c *api.Call, _ *api.None) (*api.Raw, error) {
	return k.stream(c, k.SaveArchive)
}

// sendBytes is how much of a snapshot is sent at once.
const sendBytes = 128 << 10

// stream answers with what save makes, when there is no reason not to begin.
func (k *Keeper) stream(c *api.Call, save func(context.Context, io.Writer) error) (*api.Raw, error) {
	if _, err := k.key(c); err != nil {
		return nil, err
	}
	if k.saving.Load() {
		return nil, errSaving()
	}
	return &api.Raw{ContentType: "application/octet-stream", Stream: func(ctx context.Context, w io.Writer) error {
		if !k.saving.CompareAndSwap(false, true) {
			return errSaving()
		}
		defer k.saving.Store(false)
		out := bufio.NewWriterSize(w, sendBytes)
		err := save(ctx, out)
		if err == nil {
			err = out.Flush()
		}
		if err != nil {
			k.Log.Error("a snapshot was not sent to its end", slog.Any("error", err))
		}
		return err
	}}, nil
}

func errSaving() error {
	return &api.Error{Kind: api.TooMany, Message: "a snapshot is being sent already", Hint: "try again when it has ended"}
}

// RestoreRequest says what a restore is for. The body is the snapshot, so it stands in
// the query.
type RestoreRequest struct {
	SourceIsGone bool `json:"source_is_gone"` // The cluster that the snapshot was taken from has ended for good: this store takes back what that one has lent. Without it leases are held until sys/leases/quarantine is deleted.
}

// restore puts the snapshot that is the request's body into the store, which must be
// empty. Then the snapshot's own key slots unseal the server. Leases that come with it
// are not taken back before an operator says so, or has said so here.
func (k *Keeper) restore(c *api.Call, q *RestoreRequest) (*Overview, error) {
	if err := k.restorable(c); err != nil {
		return nil, err
	}
	if !k.restoring.CompareAndSwap(false, true) {
		return nil, &api.Error{Kind: api.TooMany, Message: "a snapshot is being restored already", Hint: "try again when that has ended"}
	}
	defer k.restoring.Store(false)
	r, err := framed.NewReader(c.Upload)
	if err != nil {
		return nil, k.unread(err)
	}
	k.Log.Warn("a snapshot is being restored into the empty store", slog.String("cluster", r.Header().Cluster), slog.String("from", c.Remote.String()))
	out, err := Restore(c, k.Store, r, q.SourceIsGone, k.Now)
	if err != nil {
		return nil, k.unread(err)
	}
	k.Log.Info("a snapshot was restored", slog.String("cluster", out.Cluster), slog.Uint64("rows", out.Rows))
	out.KeySlots, err = Slots(c, k.Seal)
	return out, err
}

// restoreForce puts the snapshot that is the request's body into the store, which must
// be empty here too: what it holds is never replaced.
func (k *Keeper) restoreForce(c *api.Call, q *RestoreRequest) (*Overview, error) {
	return k.restore(c, q)
}

// restorable refuses before any of the body is read.
func (k *Keeper) restorable(c *api.Call) error {
	if done, err := k.Seal.Initialized(c); err != nil {
		return err
	} else if done {
		return Refused(ErrNotEmpty)
	}
	if c.Upload == nil {
		return api.Errorf(api.Invalid, "send the snapshot as the body of the request")
	}
	return nil
}

// unread words why a snapshot was not restored, for who sent it and in the log.
func (k *Keeper) unread(err error) error {
	k.Log.Error("a snapshot was not restored", slog.Any("error", err))
	var known *api.Error
	switch {
	case errors.As(err, &known):
		return err
	case errors.Is(err, framed.ErrForeign), errors.Is(err, fleet.ErrFormat):
		return &api.Error{Kind: api.Invalid, Message: err.Error(), Hint: "nothing was changed", Err: err}
	case errors.Is(err, framed.ErrDamaged), errors.Is(err, framed.ErrShort):
		return &api.Error{Kind: api.Invalid, Message: err.Error(), Hint: "restore an intact snapshot, or empty the store", Err: err}
	case errors.Is(err, store.ErrFull):
		return &api.Error{Kind: api.Unavailable, Message: err.Error(), Hint: "make room, and restore the snapshot again", Err: err}
	}
	return Refused(err)
}

// VerifyRequest is what a snapshot says of itself.
type VerifyRequest struct {
	Header  string `json:"header"`  // The header as it lies in the snapshot, in base64.
	Rows    uint64 `json:"rows"`    // How many rows the snapshot has.
	Bytes   uint64 `json:"bytes"`   // Of all keys and values.
	Content string `json:"content"` // SHA-256 of all rows, in base64.
	MAC     string `json:"mac"`     // The code at the snapshot's end, in base64.
}

// Verdict is what the keys say of a snapshot.
type Verdict struct {
	Genuine bool `json:"genuine"` // It was made by who had this cluster's keys.
}

// verify reports whether a snapshot, read elsewhere, was made with this cluster's keys
// and is as it was made.
func (k *Keeper) verify(c *api.Call, q *VerifyRequest) (*Verdict, error) {
	claim := framed.Claim{Rows: q.Rows, Bytes: q.Bytes}
	var content, mac []byte
	var err error
	for _, part := range []struct {
		name, text string
		to         *[]byte
	}{{"header", q.Header, &claim.Header}, {"content", q.Content, &content}, {"mac", q.MAC, &mac}} {
		if *part.to, err = base64.StdEncoding.DecodeString(part.text); err != nil {
			return nil, api.Errorf(api.Invalid, "%s: not base64", part.name)
		}
	}
	if len(content) != framed.SumBytes {
		return nil, api.Errorf(api.Invalid, "content: must be %d bytes in base64", framed.SumBytes)
	}
	copy(claim.Content[:], content)
	ok, err := k.genuine(c, claim, mac)
	return &Verdict{ok}, err
}
