package kv

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/strongroom/strongroom/internal/api"
)

// v2 is the versioned view: a path holds numbered versions of an object.
type v2 struct{}

func routesV2() []api.Route[v2] {
	return []api.Route[v2]{
		api.Handle(api.Read, "config", v2.readConfig),
		api.Handle(api.Write, "config", v2.writeConfig),
		api.Handle(api.Read, "data/{path...}", v2.readData),
		api.Upsert("data/{path...}", v2.writeData, v2.hasData),
		api.Handle(api.Patch, "data/{path...}", v2.patchData),
		api.Handle(api.Delete, "data/{path...}", v2.deleteData),
		api.Handle(api.Write, "delete/{path...}", v2.deleteVersions),
		api.Handle(api.Write, "undelete/{path...}", v2.undelete),
		api.Handle(api.Write, "destroy/{path...}", v2.destroy),
		api.Handle(api.Read, "subkeys/{path...}", v2.subkeys),
		api.Handle(api.Read, "metadata/{path...}", v2.readMetadata),
		api.Upsert("metadata/{path...}", v2.writeMetadata, v2.hasMetadata),
		api.Handle(api.Patch, "metadata/{path...}", v2.patchMetadata),
		api.Handle(api.Delete, "metadata/{path...}", v2.deleteMetadata),
		api.Handle(api.List, "metadata/{path...}", v2.list),
		api.Handle(api.Scan, "metadata/{path...}", v2.scan),
		api.Handle(api.List, "detailed-metadata/{path...}", v2.listDetailed),
		api.Handle(api.Scan, "detailed-metadata/{path...}", v2.scanDetailed),
		api.Handle(api.Read, "{path...}", v2.astray, api.Hidden),
		api.Handle(api.Write, "{path...}", v2.astray, api.Hidden),
		api.Handle(api.Patch, "{path...}", v2.astray, api.Hidden),
		api.Handle(api.Delete, "{path...}", v2.astray, api.Hidden),
		api.Handle(api.List, "{path...}", v2.astrayList, api.Hidden),
		api.Handle(api.Scan, "{path...}", v2.astrayList, api.Hidden),
	}
}

// ReadData asks for a version of a secret.
type ReadData struct {
	Path    string `path:"path"`    // Path of the secret.
	Version int    `json:"version"` // Number of the version; 0: the current one.
}

// WriteData puts a new version of a secret.
type WriteData struct {
	Path    string     `path:"path"`                     // Path of the secret.
	Data    api.Object `json:"data"`                     // The new version's members.
	Options Options    `json:"options"`                  // Conditions of the write.
	Version int        `json:"version" api:"deprecated"` // Means nothing; the new version's number follows the last.
	Nulls   []string   `json:"-" api:"nulls"`
}

// PatchData makes a new version of a secret by changing the current one, as a
// JSON merge patch (RFC 7396).
type PatchData struct {
	Path    string     `path:"path"`                     // Path of the secret.
	Data    api.Object `json:"data"`                     // Members to set; a null removes one.
	Options Options    `json:"options"`                  // Conditions of the write.
	Version int        `json:"version" api:"deprecated"` // Means nothing.
	Nulls   []string   `json:"-" api:"nulls"`
}

// Options are the conditions of a write.
type Options struct {
	CAS *int `json:"cas"` // Write only if this is the current version; 0: only if there is none.
}

// At names a secret.
type At struct {
	Path string `path:"path"` // Path of the secret.
}

// Versions names some versions of a secret.
type Versions struct {
	Path     string `path:"path"`     // Path of the secret.
	Versions []int  `json:"versions"` // Numbers of the versions.
}

// number is a version's number as asked for; what is below 1 is the current one.
func number(n int) uint64 { return uint64(max(0, n)) }

// readData answers a version of a secret, with what is known of it.
func (v2) readData(c *api.Call, r *ReadData) (*Data, error) {
	if slashed(c, r.Path) {
		return nil, rootless(c, r.Path)
	}
	s, v, body, err := readVersion(c, r.Path, number(r.Version))
	if err != nil {
		return nil, err
	}
	d := &Data{Metadata: versionInfo(&s, &v)}
	if body == nil {
		return nil, unreadable(d)
	}
	d.Data = object(v.kind, body)
	return d, nil
}

// unreadable is the answer for a version whose payload may not be read now.
func unreadable(answer any) *api.Error { return &api.Error{Kind: api.NotFound, Data: answer} }

func (v2) hasData(c *api.Call, r *WriteData) (bool, error) { return exists(c, r.Path) }

// writeData adds a version to a secret, which then is the current one, and
// makes the secret if there is none.
func (v2) writeData(c *api.Call, r *WriteData) (*VersionInfo, error) {
	if err := target(c, r.Path); err != nil {
		return nil, err
	}
	body, err := given(r.Data, r.Nulls)
	if err != nil {
		return nil, err
	}
	p, err := newPayload(kindJSON, body)
	if err != nil {
		return nil, err
	}
	return addVersion(c, r.Path, p, r.Options.CAS, nil)
}

// target refuses to write where no secret can be.
func target(c *api.Call, path string) error {
	switch {
	case strings.HasSuffix(c.Path, "/"):
		return directory()
	case path == "":
		return rootless(c, path)
	}
	return nil
}

// given is the data member of a request; an explicit null is a payload too.
func given(data api.Object, nulls []string) ([]byte, error) {
	if data != nil {
		return compact(data), nil
	}
	if slices.Contains(nulls, "data") {
		return []byte("null"), nil
	}
	return nil, api.Errorf(api.Invalid, "no data provided")
}

// addVersion commits a new current version. base, when not nil, is the version
// that must still be the current one.
func addVersion(c *api.Call, path string, p *payload, cas *int, base *uuid) (*VersionInfo, error) {
	var out VersionInfo
	err := mutate(c, path, p, func(ch *change) error {
		g, err := ch.settings()
		if err != nil {
			return err
		}
		if ch.secret == nil {
			ch.secret = &secret{created: c.Now.UTC()}
		}
		s := ch.secret
		if err := checkCAS(g, s, cas); err != nil {
			return err
		}
		if v := s.find(s.current); base != nil && (v == nil || v.id != *base) {
			return errMoved
		}
		nv := p.version(c)
		nv.gone = g.deletion(s, nv.created)
		out = versionInfo(s, s.add(nv))
		ch.erase = s.prune(g.keep(s))
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// checkCAS judges a write's check-and-set option.
func checkCAS(g settings, s *secret, cas *int) error {
	if cas == nil {
		if g.casRequired || s.casRequired {
			return api.Errorf(api.Invalid, "check-and-set parameter required for this call")
		}
		return nil
	}
	if *cas < 0 || uint64(*cas) != s.current {
		return api.Errorf(api.Conflict, "check-and-set parameter did not match the current version")
	}
	return nil
}

// errMoved says that the version a patch was made from is no longer current.
var errMoved = errors.New("kv: the current version has moved")

// patchAttempts bounds how often a patch is made anew on a newer version.
const patchAttempts = 50

// patchData adds a version that differs from the current one by a JSON merge
// patch (RFC 7396).
func (v2) patchData(c *api.Call, r *PatchData) (*VersionInfo, error) {
	if err := target(c, r.Path); err != nil {
		return nil, err
	}
	patch, err := given(r.Data, r.Nulls)
	if err != nil {
		return nil, err
	}
	for range patchAttempts {
		info, err := patchOnce(c, r, patch)
		if !errors.Is(err, errMoved) {
			return info, err
		}
	}
	return nil, api.Errorf(api.Unavailable, "too many writers want this secret at once; try again")
}

func patchOnce(c *api.Call, r *PatchData, patch []byte) (*VersionInfo, error) {
	if err := patchable(c, r); err != nil {
		return nil, err
	}
	s, v, body, err := readVersion(c, r.Path, 0)
	if err != nil {
		return nil, err
	}
	if body == nil {
		info := versionInfo(&s, &v)
		return nil, unreadable(&info)
	}
	if string(patch) == "null" {
		patch = []byte("{}")
	}
	merged, err := mergePatch(jsontext.Value(object(v.kind, body)), patch)
	if err != nil {
		return nil, err
	}
	if api.CheckStructure(merged) != nil {
		return nil, api.Errorf(api.TooLarge, "the patched value would have more values or levels than one request may write")
	}
	p, err := newPayload(kindJSON, merged)
	if err != nil {
		return nil, err
	}
	return addVersion(c, r.Path, p, r.Options.CAS, &v.id)
}

// patchable judges a patch's check-and-set before what it would patch, so that
// the answer does not depend on whether that can be read.
func patchable(c *api.Call, r *PatchData) error {
	s, err := load(c, r.Path)
	if err != nil {
		return err
	}
	e, err := c.Store.Get(c, keyConfig)
	if err != nil {
		return err
	}
	g, err := decodeSettings(e)
	if err != nil {
		return err
	}
	return checkCAS(g, s, r.Options.CAS)
}

// deleteData deletes the current version. It can be undeleted.
func (v2) deleteData(c *api.Call, r *At) (*api.None, error) {
	switch {
	case r.Path == "":
		return nil, atRoot(c)
	case slashed(c, r.Path):
		return nil, nil
	}
	return nil, mutate(c, r.Path, nil, func(ch *change) error {
		if ch.secret != nil {
			ch.deleteVersion(ch.secret.current)
		}
		return nil
	})
}

// deleteVersion deletes a version that can be read, or will be deleted later. From then on
// it is deleted on every node, also on one whose clock is behind.
func (ch *change) deleteVersion(n uint64) {
	v := ch.secret.find(n)
	if v == nil || v.state == destroyed || v.dropped {
		return
	}
	if !v.deletedAt(ch.Now) {
		v.gone = ch.Now.UTC()
	}
	v.dropped = true
	v.edits++
}

// deleteVersions deletes versions. They can be undeleted.
func (v2) deleteVersions(c *api.Call, r *Versions) (*api.None, error) {
	return r.each(c, func(ch *change, _ settings, n uint64) { ch.deleteVersion(n) })
}

// undelete brings deleted versions back.
func (v2) undelete(c *api.Call, r *Versions) (*api.None, error) {
	return r.each(c, func(ch *change, g settings, n uint64) {
		if v := ch.secret.find(n); v != nil && v.state != destroyed && !v.gone.IsZero() {
			v.gone, v.dropped = g.deletion(ch.secret, ch.Now.UTC()), false
			v.edits++
		}
	})
}

// destroy erases the payloads of versions for good.
func (v2) destroy(c *api.Call, r *Versions) (*api.None, error) {
	return r.each(c, func(ch *change, _ settings, n uint64) {
		if v := ch.secret.find(n); v != nil && v.state != destroyed {
			ch.erase = append(ch.erase, *v)
			v.state, v.erased, v.destroyAt = destroyed, ch.Now.UTC(), time.Time{}
			v.inline, v.body = false, nil
			v.edits++
		}
	})
}

// each applies a change to the versions named; those that are not there are
// passed over.
func (r *Versions) each(c *api.Call, fn func(*change, settings, uint64)) (*api.None, error) {
	if len(r.Versions) == 0 {
		return nil, api.Errorf(api.Invalid, "No version number provided")
	}
	if slashed(c, r.Path) {
		return nil, target(c, r.Path)
	}
	return nil, mutate(c, r.Path, nil, func(ch *change) error {
		if ch.secret == nil {
			return nil
		}
		g, err := ch.settings()
		if err != nil {
			return err
		}
		for _, n := range r.Versions {
			if n > 0 {
				fn(ch, g, uint64(n))
			}
		}
		return nil
	})
}
