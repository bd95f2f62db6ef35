package kv

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/strongroom/strongroom/internal/api"
)

// VersionInfo describes one version of a secret.
type VersionInfo struct {
	CreatedTime    api.Time          `json:"created_time"`    // When the version was written.
	CustomMetadata map[string]string `json:"custom_metadata"` // The secret's custom metadata.
	DeletionTime   api.Time          `json:"deletion_time"`   // When the version was, or will be, deleted.
	Destroyed      bool              `json:"destroyed"`       // Whether its payload is gone for good.
	Version        uint64            `json:"version"`         // Its number.
}

// Data is one version of a secret.
type Data struct {
	Data     api.Object  `json:"data"`     // The version's members; null when it is deleted or destroyed.
	Metadata VersionInfo `json:"metadata"` // What is known of the version.
}

// Subkeys is the outline of one version of a secret: its names without values.
type Subkeys struct {
	Metadata VersionInfo `json:"metadata"`              // What is known of the version.
	Subkeys  api.Object  `json:"subkeys" audit:"clear"` // The version's names, each leaf null.
}

func versionInfo(s *secret, v *version) VersionInfo {
	return VersionInfo{
		CreatedTime:    api.Time{Time: v.created},
		CustomMetadata: customMap(s.custom),
		DeletionTime:   api.Time{Time: v.gone},
		Destroyed:      v.state == destroyed,
		Version:        v.number,
	}
}

// customMap is nil for no custom metadata, so that the wire says null.
func customMap(ps []pair) map[string]string {
	if len(ps) == 0 {
		return nil
	}
	m := make(map[string]string, len(ps))
	for _, p := range ps {
		m[p.name] = p.value
	}
	return m
}

// AppendJSON appends the description as encoding/json writes it.
func (i *VersionInfo) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"created_time":`...)
	dst = appendMoment(dst, i.CreatedTime)
	dst = append(dst, `,"custom_metadata":`...)
	dst = appendMap(dst, i.CustomMetadata)
	dst = append(dst, `,"deletion_time":`...)
	dst = appendMoment(dst, i.DeletionTime)
	dst = append(dst, `,"destroyed":`...)
	dst = strconv.AppendBool(dst, i.Destroyed)
	dst = append(dst, `,"version":`...)
	return append(strconv.AppendUint(dst, i.Version, 10), '}')
}

// AppendJSON appends the version as encoding/json writes it.
func (d *Data) AppendJSON(dst []byte) []byte {
	dst = slices.Grow(dst, len(d.Data)+192)
	dst = append(dst, `{"data":`...)
	if len(d.Data) == 0 {
		dst = append(dst, "null"...)
	} else {
		dst = append(dst, d.Data...)
	}
	dst = append(dst, `,"metadata":`...)
	return append(d.Metadata.AppendJSON(dst), '}')
}

func appendMoment(dst []byte, t api.Time) []byte {
	dst = append(dst, '"')
	if !t.IsZero() {
		dst = t.UTC().AppendFormat(dst, time.RFC3339Nano)
	}
	return append(dst, '"')
}

func appendMap(dst []byte, m map[string]string) []byte {
	if m == nil {
		return append(dst, "null"...)
	}
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	dst = append(dst, '{')
	for i, name := range names {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendQuoted(dst, name), ':')
		dst = appendQuoted(dst, m[name])
	}
	return append(dst, '}')
}

// appendQuoted writes a JSON text; bytes that are not UTF-8 become U+FFFD.
func appendQuoted(dst []byte, s string) []byte {
	out, err := jsontext.AppendQuote(dst, s)
	if err != nil {
		return appendQuoted(dst, strings.ToValidUTF8(s, "\ufffd"))
	}
	return out
}

// History describes one version in a secret's metadata.
type History struct {
	CreatedTime  api.Time `json:"created_time"`  // When the version was written.
	DeletionTime api.Time `json:"deletion_time"` // When the version was, or will be, deleted.
	Destroyed    bool     `json:"destroyed"`     // Whether its payload is gone for good.
}

// Metadata is what is known of a secret, without any payload.
type Metadata struct {
	CASRequired            bool               `json:"cas_required"`             // Writes must name the current version.
	CreatedTime            api.Time           `json:"created_time"`             // When the secret was made.
	CurrentMetadataVersion uint64             `json:"current_metadata_version"` // How often the metadata was changed.
	CurrentVersion         uint64             `json:"current_version"`          // The version that a read answers; 0: none yet.
	CustomMetadata         map[string]string  `json:"custom_metadata"`          // Names and values of your own.
	DeleteVersionAfter     string             `json:"delete_version_after"`     // Age at which a version is deleted; 0s: as the mount says, negative: never.
	MaxVersions            uint64             `json:"max_versions"`             // Versions kept; 0: as the mount says.
	MetadataCASRequired    bool               `json:"metadata_cas_required"`    // Metadata writes must name the current metadata version.
	OldestVersion          uint64             `json:"oldest_version"`           // The oldest version kept; 0 while all are.
	UpdatedTime            api.Time           `json:"updated_time"`             // When a version or the metadata was last written.
	Versions               map[uint64]History `json:"versions"`                 // The versions kept, by number.
}

func metadataOf(s *secret) *Metadata {
	m := &Metadata{
		CASRequired:            s.casRequired,
		CreatedTime:            api.Time{Time: s.created},
		CurrentMetadataVersion: s.edits,
		CurrentVersion:         s.current,
		CustomMetadata:         customMap(s.custom),
		DeleteVersionAfter:     s.deleteAfter.String(),
		MaxVersions:            s.maxVersions,
		MetadataCASRequired:    s.metaCASRequired,
		OldestVersion:          s.oldest(),
		UpdatedTime:            api.Time{Time: s.updated},
		Versions:               make(map[uint64]History, len(s.versions)),
	}
	for i := range s.versions {
		v := &s.versions[i]
		m.Versions[v.number] = History{
			CreatedTime:  api.Time{Time: v.created},
			DeletionTime: api.Time{Time: v.gone},
			Destroyed:    v.state == destroyed,
		}
	}
	return m
}
