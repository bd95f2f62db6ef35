// Package cubbyhole owns the secret engine that gives each token a private
// place: what a token writes, it alone can read, and it goes when the token goes.
package cubbyhole

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

const (
	formatRow = 1         // first byte of every row, before the JSON object
	maxValue  = 512 << 10 // one value, in bytes
	maxPath   = 2 << 10   // longest path, in bytes
)

var errFormat = errors.New("cubbyhole: the stored form is of a newer version than this program knows")

type engine struct{}

// Engine is the engine's row for the table of secret engines. It returns an
// error when a declaration is wrong.
func Engine() (api.Engine, error) {
	eps, err := api.Bind(engine{}, []api.Route[engine]{
		api.Handle(api.Read, "{path...}", engine.read, api.Self),
		api.Upsert("{path...}", engine.write, engine.exists, api.Self),
		api.Handle(api.Delete, "{path...}", engine.remove, api.Self),
		api.Handle(api.List, "{path...}", engine.list, api.Self),
	})
	if err != nil {
		return api.Engine{}, fmt.Errorf("cubbyhole: %w", err)
	}
	return api.Engine{Type: "cubbyhole", Description: "A private place for each token.", Endpoints: eps}, nil
}

// At names a value in the caller's cubbyhole.
type At struct {
	Path string `path:"path"` // Path of the value.
}

// Write puts a value into the caller's cubbyhole.
type Write struct {
	Path string     `path:"path"`            // Path of the value.
	Data api.Object `json:"data" api:"body"` // The value: any members.
}

// Browse asks for the names below a path of the caller's cubbyhole.
type Browse struct {
	Path  string `path:"path"`  // Path of the directory.
	After string `json:"after"` // Only names that sort behind this one.
	Limit int    `json:"limit"` // At most so many names; 0: all.
}

// Value is what a path holds.
type Value struct {
	Data api.Object `json:"data" api:"body"` // The value's members.
}

// MarshalJSON is the value's members.
func (v *Value) MarshalJSON() ([]byte, error) { return v.Data.MarshalJSON() }

// AppendJSON appends the value's members.
func (v *Value) AppendJSON(dst []byte) []byte { return append(dst, v.Data...) }

// home is the storage prefix of a token. The identity is spelled so that it
// holds no slash: one token's prefix never begins another's.
func home(tokenID string) string { return hex.EncodeToString([]byte(tokenID)) + "/" }

// place is the prefix of the caller's cubbyhole. A batch token has none: it is
// kept nowhere, so nothing could be removed with it.
func place(c *api.Call) (string, error) {
	switch {
	case c.Caller.TokenID == "":
		return "", api.ErrDenied()
	case c.Caller.Batch:
		return "", api.Errorf(api.Invalid, "cubbyhole operations are only supported by service tokens")
	}
	return home(c.Caller.TokenID), nil
}

// key is the storage key of a value. ok is false for a path that names none: it
// is empty or ends in a slash.
func key(c *api.Call, path string) (key string, ok bool, err error) {
	h, err := place(c)
	if err == nil && len(path) > maxPath {
		err = api.Errorf(api.Invalid, "path is longer than %d bytes", maxPath)
	}
	return h + path, path != "" && !strings.HasSuffix(path, "/") && !strings.HasSuffix(c.Path, "/"), err
}

// read answers a value of the caller's cubbyhole.
func (engine) read(c *api.Call, r *At) (*Value, error) {
	k, ok, err := key(c, r.Path)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, api.ErrNotFound()
	}
	e, err := c.Store.Get(c, k)
	switch {
	case err != nil:
		return nil, err
	case !e.Exists():
		return nil, api.ErrNotFound()
	case len(e.Value) == 0 || e.Value[0] != formatRow:
		return nil, errFormat
	}
	return &Value{Data: e.Value[1:]}, nil
}

func (engine) exists(c *api.Call, r *Write) (bool, error) {
	k, ok, err := key(c, r.Path)
	if err != nil || !ok {
		return false, err
	}
	e, err := c.Store.Get(c, k)
	return e.Exists(), err
}

// write puts a value into the caller's cubbyhole; it replaces the one before.
func (engine) write(c *api.Call, r *Write) (*api.None, error) {
	k, ok, err := key(c, r.Path)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, api.Errorf(api.Invalid, "cannot write to a path ending in '/'")
	}
	data := jsontext.Value(bytes.Clone(r.Data))
	if err := data.Compact(); err != nil {
		return nil, api.Errorf(api.Invalid, "the request body is not valid JSON")
	}
	switch {
	case string(data) == "{}":
		return nil, api.Errorf(api.Invalid, "missing data fields")
	case len(data) > maxValue:
		return nil, api.Errorf(api.TooLarge, "the value is larger than %d bytes", maxValue)
	}
	_, err = c.Store.Commit(c, nil, []store.Write{{Key: k, Value: append([]byte{formatRow}, data...)}})
	return nil, err
}

// remove removes a value from the caller's cubbyhole. One that is not there is
// as good as removed.
func (engine) remove(c *api.Call, r *At) (*api.None, error) {
	k, ok, err := key(c, r.Path)
	if err != nil || !ok {
		return nil, err
	}
	_, err = c.Store.Commit(c, nil, []store.Write{{Key: k, Delete: true}})
	return nil, err
}

// list lists the names below a path of the caller's cubbyhole; directories end
// in a slash.
func (engine) list(c *api.Call, r *Browse) (*api.Keys, error) {
	h, err := place(c)
	if err != nil {
		return nil, err
	}
	dir := h + r.Path
	if !strings.HasSuffix(dir, "/") {
		dir += "/"
	}
	names, err := store.Children(c, c.Store, dir, r.After, max(0, r.Limit))
	return &api.Keys{Keys: names}, err
}

// Erase removes all that a token keeps in the engine's store. What revokes the
// token calls it; it may be repeated, and a token without anything is no error.
func Erase(ctx context.Context, s store.Store, tokenID string) error {
	r := store.Prefix(home(tokenID))
	r.KeysOnly, r.Limit = true, store.MaxWrites
	for {
		es, err := s.List(ctx, r)
		if err != nil {
			return fmt.Errorf("emptying a cubbyhole: %w", err)
		}
		if len(es) == 0 {
			return nil
		}
		ws := make([]store.Write, len(es))
		for i, e := range es {
			ws[i] = store.Write{Key: e.Key, Delete: true}
		}
		if _, err := s.Commit(ctx, nil, ws); err != nil {
			return fmt.Errorf("emptying a cubbyhole: %w", err)
		}
	}
}
