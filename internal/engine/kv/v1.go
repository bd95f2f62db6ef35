package kv

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// v1 is the unversioned view: a path holds one object, which a write replaces.
type v1 struct{}

func routesV1() []api.Route[v1] {
	return []api.Route[v1]{
		api.Handle(api.Read, "{path...}", v1.read),
		api.Upsert("{path...}", v1.write, v1.exists),
		api.Handle(api.Delete, "{path...}", v1.remove),
		api.Handle(api.List, "{path...}", v1.list),
		api.Handle(api.Scan, "{path...}", v1.scan),
	}
}

// Read asks for the secret at a path.
type Read struct {
	Path string `path:"path"` // Path of the secret.
}

// Write puts a secret at a path, in place of what was there.
type Write struct {
	Path string     `path:"path"`            // Path of the secret.
	Data api.Object `json:"data" api:"body"` // The secret: any members.
}

// Remove removes the secret at a path, for good.
type Remove struct {
	Path string `path:"path"` // Path of the secret.
}

// Browse asks for the names below a path.
type Browse struct {
	Path  string `path:"path"`  // Path of the directory.
	After string `json:"after"` // Only names that sort behind this one.
	Limit int    `json:"limit"` // At most so many names; 0: all.
}

// Secret is a secret as the unversioned view answers it: its members alone,
// with a hint on how long they may be kept.
type Secret struct {
	Data api.Object `json:"data" api:"body"` // The secret's members.

	lease time.Duration
}

// MarshalJSON is the secret's members.
func (s *Secret) MarshalJSON() ([]byte, error) { return s.Data.MarshalJSON() }

// AppendJSON appends the secret's members.
func (s *Secret) AppendJSON(dst []byte) []byte { return append(dst, s.Data...) }

// LeaseDuration is the secret's own ttl or lease member, or the mount's default.
func (s *Secret) LeaseDuration() time.Duration { return s.lease }

// slashed reports whether the request's path ends in a slash: it names a
// directory, never a secret.
func slashed(c *api.Call, path string) bool {
	return path == "" || strings.HasSuffix(c.Path, "/") || strings.HasSuffix(path, "/")
}

func directory() error { return api.Errorf(api.Invalid, "cannot write to a path ending in '/'") }

// read answers a secret.
func (v1) read(c *api.Call, r *Read) (*Secret, error) {
	if slashed(c, r.Path) {
		return nil, api.ErrNotFound()
	}
	_, v, body, err := readVersion(c, r.Path, 0)
	if err != nil {
		return nil, err
	}
	if body == nil {
		return nil, api.ErrNotFound()
	}
	data := object(v.kind, body)
	return &Secret{Data: data, lease: lease(data, c.Mount.DefaultTTL)}, nil
}

// lease is the duration that a secret names for itself in its member ttl, or
// else lease; a value that is no duration, or a negative one, counts for nothing.
func lease(data api.Object, otherwise time.Duration) time.Duration {
	if !bytes.Contains(data, []byte(`ttl"`)) && !bytes.Contains(data, []byte(`lease"`)) {
		return otherwise
	}
	body, err := api.ParseBody(data)
	if err != nil {
		return otherwise
	}
	for _, name := range []string{"ttl", "lease"} {
		raw := body.Get(name)
		if k := raw.Kind(); k != '"' && k != '0' {
			continue
		}
		var d api.Duration
		if err := json.Unmarshal(raw, &d); err != nil || d < 0 || len(raw) <= len(`""`) && raw.Kind() == '"' {
			return otherwise
		}
		return d.Std()
	}
	return otherwise
}

// write puts a secret; it replaces the one before.
func (v1) write(c *api.Call, r *Write) (*api.None, error) {
	if slashed(c, r.Path) {
		return nil, directory()
	}
	data := compact(r.Data)
	if string(data) == "{}" {
		return nil, api.Errorf(api.Invalid, "missing data fields")
	}
	p, err := newPayload(kindJSON, data)
	if err != nil {
		return nil, err
	}
	return nil, mutate(c, r.Path, p, func(ch *change) error {
		if ch.secret == nil {
			ch.secret = &secret{created: c.Now}
		}
		ch.erase = ch.secret.replace(p.version(c))
		return nil
	})
}

// compact drops the space between a JSON value's tokens, which the decoder has
// found valid. A value without any is not copied.
func compact(data api.Object) []byte {
	var out []byte
	text, done := false, 0
	for i := 0; i < len(data); i++ {
		switch c := data[i]; {
		case text && c == '\\':
			i++
		case c == '"':
			text = !text
		case !text && (c == ' ' || c == '\t' || c == '\n' || c == '\r'):
			if out == nil {
				out = make([]byte, 0, len(data))
			}
			out, done = append(out, data[done:i]...), i+1
		}
	}
	if out == nil {
		return data
	}
	return append(out, data[done:]...)
}

func (v1) exists(c *api.Call, r *Write) (bool, error) { return exists(c, r.Path) }

// remove removes a secret. One that is not there is as good as removed.
func (v1) remove(c *api.Call, r *Remove) (*api.None, error) {
	if slashed(c, r.Path) {
		return nil, nil
	}
	return nil, remove(c, r.Path)
}

// remove removes a secret with all its versions; an absent one is no error.
func remove(c *api.Call, path string) error {
	return mutate(c, path, nil, func(ch *change) error {
		if ch.secret != nil {
			ch.erase, ch.secret = ch.secret.versions, nil
		}
		return nil
	})
}

// list lists the names below a path; directories end in a slash.
func (v1) list(c *api.Call, r *Browse) (*api.Keys, error) { return children(c, r) }

// scan lists the paths of all secrets below a path.
func (v1) scan(c *api.Call, r *Browse) (*api.Keys, error) { return descendants(c, r) }

// dir is the storage prefix of a directory.
func dir(path string) string {
	if path == "" || strings.HasSuffix(path, "/") {
		return prefixSecret + path
	}
	return prefixSecret + path + "/"
}

func children(c *api.Call, r *Browse) (*api.Keys, error) {
	names, err := store.Children(c, c.Store, dir(r.Path), r.After, max(0, r.Limit))
	return &api.Keys{Keys: names}, err
}

func descendants(c *api.Call, r *Browse) (*api.Keys, error) {
	names, err := store.Descendants(c, c.Store, dir(r.Path), r.After, max(0, r.Limit))
	return &api.Keys{Keys: names}, err
}
