package kv

import (
	"github.com/go-json-experiment/json/jsontext"

	"github.com/strongroom/strongroom/internal/api"
)

// ReadSubkeys asks for the outline of a version of a secret.
type ReadSubkeys struct {
	Path    string `path:"path"`    // Path of the secret.
	Version int    `json:"version"` // Number of the version; 0: the current one.
	Depth   int    `json:"depth"`   // Levels to show; 0: all.
}

// subkeys answers the names in a version of a secret, without their values.
func (v2) subkeys(c *api.Call, r *ReadSubkeys) (*Subkeys, error) {
	if slashed(c, r.Path) {
		return nil, rootless(c, r.Path)
	}
	s, v, body, err := readVersion(c, r.Path, number(r.Version))
	if err != nil {
		return nil, err
	}
	out := &Subkeys{Metadata: versionInfo(&s, &v)}
	if body == nil {
		return nil, unreadable(out)
	}
	depth := r.Depth
	if depth < 0 {
		depth = 1
	}
	o, err := outline(jsontext.Value(object(v.kind, body)), depth)
	out.Subkeys = api.Object(o)
	return out, err
}

// outline is a JSON object with null in place of every value that is not itself
// an object with members; objects below depth levels are null too (0: no limit).
func outline(v jsontext.Value, depth int) (jsontext.Value, error) {
	if v.Kind() != '{' {
		return jsontext.Value("null"), nil
	}
	ms, err := splitObject(v)
	if err != nil {
		return nil, err
	}
	for i := range ms {
		if depth == 1 || string(ms[i].value) == "{}" {
			ms[i].value = jsontext.Value("null")
			continue
		}
		if ms[i].value, err = outline(ms[i].value, max(0, depth-1)); err != nil {
			return nil, err
		}
	}
	return joinObject(ms), nil
}
