package kv

import (
	"strings"

	"github.com/strongroom/strongroom/internal/api"
)

// list lists the names below a path; directories end in a slash.
func (v2) list(c *api.Call, r *Browse) (*api.Keys, error) {
	keys, err := children(c, r)
	return beside(r, keys), err
}

// scan lists the paths of all secrets below a path.
func (v2) scan(c *api.Call, r *Browse) (*api.Keys, error) {
	keys, err := descendants(c, r)
	return beside(r, keys), err
}

// beside says where else in the mount the keys of a directory name secrets.
func beside(r *Browse, keys *api.Keys) *api.Keys {
	if keys != nil {
		for _, view := range []string{"data/", "metadata/", "subkeys/", "delete/", "undelete/", "destroy/"} {
			keys.Beside = append(keys.Beside, view+r.Path)
		}
	}
	return keys
}

// listDetailed lists the names below a path, with each secret's metadata.
func (v2) listDetailed(c *api.Call, r *Browse) (*api.Keys, error) {
	keys, err := children(c, r)
	if err != nil {
		return nil, err
	}
	keys, err = detail(c, r.Path, keys)
	return beside(r, keys), err
}

// scanDetailed lists the paths of all secrets below a path, with each secret's
// metadata.
func (v2) scanDetailed(c *api.Call, r *Browse) (*api.Keys, error) {
	keys, err := descendants(c, r)
	if err != nil {
		return nil, err
	}
	keys, err = detail(c, r.Path, keys)
	return beside(r, keys), err
}

// detail adds each secret's metadata; a directory has none. A secret that went
// away since it was listed is left out.
func detail(c *api.Call, path string, keys *api.Keys) (*api.Keys, error) {
	base := strings.TrimPrefix(dir(path), prefixSecret)
	out := &api.Keys{Keys: keys.Keys[:0], Info: make(map[string]any, len(keys.Keys))}
	for _, name := range keys.Keys {
		if strings.HasSuffix(name, "/") {
			out.Info[name] = struct{}{}
			out.Keys = append(out.Keys, name)
			continue
		}
		s, err := load(c, base+name)
		if api.KindOf(err) == api.NotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		out.Info[name] = metadataOf(s)
		out.Keys = append(out.Keys, name)
	}
	return out, nil
}

// rootless is the answer for the root of data/, metadata/ and the like, or a
// directory: there is no secret to read or write.
func rootless(c *api.Call, path string) error {
	if path == "" && !strings.HasSuffix(c.Path, "/") {
		return atRoot(c)
	}
	return api.ErrNotFound()
}

// atRoot is the answer for the root of data/, metadata/ and the like, in words.
func atRoot(c *api.Call) error {
	c.Warn("Non-listing operations on the root of a K/V v2 mount are not supported.")
	return api.ErrNotFound()
}

// Astray is a request to a path that the versioned view does not have.
type Astray struct {
	Path string     `path:"path"`            // The path.
	Data api.Object `json:"data" api:"body"` // What was sent.
}

// astray answers an operation that the versioned view does not have at a path.
func (v2) astray(c *api.Call, r *Astray) (*api.None, error) {
	switch r.Path {
	case "delete", "undelete", "destroy":
		return nil, atRoot(c)
	}
	return v2{}.astrayList(c, r)
}

// astrayList tells a client of version 1 that this mount is version 2. A path that
// version 2 has, but not for this operation, is unsupported.
func (v2) astrayList(c *api.Call, r *Astray) (*api.None, error) {
	first, _, _ := strings.Cut(r.Path, "/")
	switch first {
	case "config", "data", "metadata", "delete", "undelete", "destroy", "subkeys", "detailed-metadata":
		return nil, api.Errorf(api.Unsupported, "unsupported operation")
	}
	c.Warn("Invalid path for a versioned K/V secrets engine: this mount is version 2, whose paths begin with data/, metadata/, " +
		"delete/, undelete/, destroy/ or subkeys/. On the command line, the kv verbs find the right one.")
	return nil, api.ErrNotFound()
}
