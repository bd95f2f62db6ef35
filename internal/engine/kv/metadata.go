package kv

import (
	"bytes"
	"slices"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/strongroom/strongroom/internal/api"
)

// Limits on custom metadata.
const (
	maxCustom      = 64  // pairs
	maxCustomName  = 128 // bytes
	maxCustomValue = 512 // bytes
)

// WriteMetadata makes a secret's metadata or changes it. What is not named stays.
type WriteMetadata struct {
	Path                string             `path:"path"`                  // Path of the secret.
	CASRequired         *bool              `json:"cas_required"`          // Demand the cas option on every write.
	CustomMetadata      *map[string]string `json:"custom_metadata"`       // Names and values of your own, in place of all there were.
	DeleteVersionAfter  *api.Duration      `json:"delete_version_after"`  // Age at which a version is deleted; 0: as the mount says, negative: never.
	MaxVersions         *int               `json:"max_versions"`          // Versions to keep; 0: as the mount says.
	MetadataCAS         *int               `json:"metadata_cas"`          // Write only if this is the current metadata version; 0: only if there is none.
	MetadataCASRequired *bool              `json:"metadata_cas_required"` // Demand metadata_cas on every metadata write.
}

// PatchMetadata changes a secret's metadata as a JSON merge patch (RFC 7396): a
// null sets a member back to its default.
type PatchMetadata struct {
	Path                string        `path:"path"`                  // Path of the secret.
	CASRequired         *bool         `json:"cas_required"`          // Demand the cas option on every write.
	CustomMetadata      api.Object    `json:"custom_metadata"`       // Names and values to set; a null removes one.
	DeleteVersionAfter  *api.Duration `json:"delete_version_after"`  // Age at which a version is deleted; 0: as the mount says, negative: never.
	MaxVersions         *int          `json:"max_versions"`          // Versions to keep; 0: as the mount says.
	MetadataCAS         *int          `json:"metadata_cas"`          // Write only if this is the current metadata version.
	MetadataCASRequired *bool         `json:"metadata_cas_required"` // Demand metadata_cas on every metadata write.
	Nulls               []string      `json:"-" api:"nulls"`
}

// readMetadata answers a secret's settings, custom metadata and what is known
// of each version.
func (v2) readMetadata(c *api.Call, r *At) (*Metadata, error) {
	if slashed(c, r.Path) {
		return nil, rootless(c, r.Path)
	}
	s, err := load(c, r.Path)
	if err != nil {
		return nil, err
	}
	return metadataOf(s), nil
}

func (v2) hasMetadata(c *api.Call, r *WriteMetadata) (bool, error) { return exists(c, r.Path) }

// writeMetadata sets a secret's settings and custom metadata, and makes a
// secret without versions if there is none.
func (v2) writeMetadata(c *api.Call, r *WriteMetadata) (*api.None, error) {
	if err := target(c, r.Path); err != nil {
		return nil, err
	}
	f := fields{cas: r.CASRequired, metaCAS: r.MetadataCASRequired, after: r.DeleteVersionAfter, most: r.MaxVersions}
	if r.CustomMetadata != nil {
		f.custom = func([]pair) ([]pair, error) { return sortedPairs(*r.CustomMetadata), nil }
	}
	return nil, f.write(c, r.Path, r.MetadataCAS, true)
}

// patchMetadata changes single settings and keys of the custom metadata; null
// removes one.
func (v2) patchMetadata(c *api.Call, r *PatchMetadata) (*api.None, error) {
	if err := target(c, r.Path); err != nil {
		return nil, err
	}
	f := fields{
		cas:     orDefault(r.CASRequired, r.Nulls, "cas_required"),
		metaCAS: orDefault(r.MetadataCASRequired, r.Nulls, "metadata_cas_required"),
		after:   orDefault(r.DeleteVersionAfter, r.Nulls, "delete_version_after"),
		most:    orDefault(r.MaxVersions, r.Nulls, "max_versions"),
	}
	switch {
	case r.CustomMetadata != nil:
		f.custom = func(before []pair) ([]pair, error) { return patchPairs(before, r.CustomMetadata) }
	case slices.Contains(r.Nulls, "custom_metadata"):
		f.custom = func([]pair) ([]pair, error) { return nil, nil }
	}
	return nil, f.write(c, r.Path, r.MetadataCAS, false)
}

// orDefault is the zero value for a member that was an explicit null.
func orDefault[T any](v *T, nulls []string, name string) *T {
	if v == nil && slices.Contains(nulls, name) {
		return new(T)
	}
	return v
}

// deleteMetadata removes a secret with all its versions for good.
func (v2) deleteMetadata(c *api.Call, r *At) (*api.None, error) {
	switch {
	case r.Path == "":
		return nil, atRoot(c)
	case slashed(c, r.Path):
		return nil, nil
	}
	return nil, remove(c, r.Path)
}

// fields are the metadata that a request changes; nil ones stay.
type fields struct {
	cas, metaCAS *bool
	after        *api.Duration
	most         *int
	custom       func(before []pair) ([]pair, error)
}

func (f *fields) empty() bool {
	return f.cas == nil && f.metaCAS == nil && f.after == nil && f.most == nil && f.custom == nil
}

// write changes a secret's metadata; create says that it may make the secret.
func (f *fields) write(c *api.Call, path string, cas *int, create bool) error {
	limit, err := versionLimit(c, f.most)
	if err != nil {
		return err
	}
	return mutate(c, path, nil, func(ch *change) error {
		if ch.secret == nil && !create {
			return api.ErrNotFound()
		}
		g, err := ch.settings()
		if err != nil {
			return err
		}
		if err := checkMetaCAS(g, ch.secret, cas); err != nil {
			return err
		}
		if f.empty() {
			return nil
		}
		if ch.secret == nil {
			ch.secret = &secret{created: c.Now.UTC()}
		}
		ch.secret.updated = c.Now.UTC()
		ch.secret.edits++
		return f.apply(ch.secret, limit)
	})
}

func (f *fields) apply(s *secret, limit uint64) (err error) {
	if f.cas != nil {
		s.casRequired = *f.cas
	}
	if f.metaCAS != nil {
		s.metaCASRequired = *f.metaCAS
	}
	if f.after != nil {
		s.deleteAfter = ageLimit(*f.after)
	}
	if f.most != nil {
		s.maxVersions = limit
	}
	if f.custom == nil {
		return nil
	}
	if s.custom, err = f.custom(s.custom); err != nil {
		return err
	}
	return checkCustom(s.custom)
}

// checkMetaCAS judges a metadata write's check-and-set; s is nil when there is
// no secret yet.
func checkMetaCAS(g settings, s *secret, cas *int) error {
	switch {
	case cas == nil && (g.metaCASRequired || s != nil && s.metaCASRequired):
		return api.Errorf(api.Invalid, "metadata check-and-set parameter required for this call")
	case cas == nil:
		return nil
	case s == nil && *cas != 0:
		return api.Errorf(api.Conflict, "metadata_cas must be 0 when creating new metadata")
	case s != nil && (*cas < 0 || uint64(*cas) != s.edits):
		return api.Errorf(api.Conflict, "metadata check-and-set parameter does not match the current version")
	}
	return nil
}

func sortedPairs(m map[string]string) []pair {
	out := make([]pair, 0, len(m))
	for name, value := range m {
		out = append(out, pair{name, value})
	}
	slices.SortFunc(out, func(a, b pair) int { return strings.Compare(a.name, b.name) })
	return out
}

// patchPairs applies a merge patch whose values are texts, or null to remove.
func patchPairs(before []pair, patch api.Object) ([]pair, error) {
	m := make(map[string]string, len(before))
	for _, p := range before {
		m[p.name] = p.value
	}
	changes, err := splitObject(jsontext.Value(bytes.TrimSpace(patch)))
	if err != nil {
		return nil, api.Errorf(api.Invalid, "custom_metadata must be an object of texts")
	}
	for _, ch := range changes {
		switch ch.value.Kind() {
		case 'n':
			delete(m, ch.name)
		case '"':
			b, err := jsontext.AppendUnquote(nil, ch.value)
			if err != nil {
				return nil, api.Errorf(api.Invalid, "custom_metadata must be an object of texts")
			}
			m[ch.name] = string(b)
		case '0', 't', 'f':
			m[ch.name] = string(ch.value)
		default:
			return nil, api.Errorf(api.Invalid, "custom_metadata must be an object of texts")
		}
	}
	return sortedPairs(m), nil
}

// checkCustom judges custom metadata. The error says what is wrong, not with
// which text.
func checkCustom(ps []pair) error {
	const failed = "custom_metadata validation failed: "
	if len(ps) > maxCustom {
		return api.Errorf(api.Invalid, failed+"there may be at most %d keys, not %d", maxCustom, len(ps))
	}
	for _, p := range ps {
		switch {
		case len(p.name) == 0 || len(p.name) > maxCustomName:
			return api.Errorf(api.Invalid, failed+"a key has %d bytes, it must have 1 to %d", len(p.name), maxCustomName)
		case len(p.value) == 0 || len(p.value) > maxCustomValue:
			return api.Errorf(api.Invalid, failed+"a value has %d bytes, it must have 1 to %d", len(p.value), maxCustomValue)
		case strings.ContainsFunc(p.name+p.value, func(r rune) bool { return !unicode.IsPrint(r) }):
			return api.Errorf(api.Invalid, failed+"a key or value has a character that does not print")
		}
	}
	return nil
}
