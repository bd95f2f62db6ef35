package kv

import (
	"encoding/binary"
	"errors"
	"math"
	"time"
)

// The stored form. Every row begins with its format; numbers are varints,
// moments are nanoseconds since 1970 in eight bytes, texts carry their length.
// Flags say which optional fields follow, in the order of the flags. A flag or
// format that is not known is refused: it was written by something newer.
const (
	formatSecret  = 1
	formatPayload = 1
	formatConfig  = 1
	formatTrash   = 1
)

var (
	errFormat    = errors.New("kv: the stored form is of a newer version than this program knows")
	errMalformed = errors.New("kv: the stored form is malformed")
)

// Flags of a secret, in stored order.
const (
	secretCAS = 1 << iota
	secretMetaCAS
	secretCurrent // current differs from last
	secretMaxVersions
	secretDeleteAfter
	secretCustom
	secretDescription
	secretOwner
	secretTags
	secretExpires
	secretDeleted
	secretPurge
	secretPlan
	secretExtra
	secretFlagsEnd
)

// Flags of a version, in stored order, behind two bits of state and two of kind.
const (
	versionGone = 1 << (iota + 4)
	versionMedia
	versionChunks
	versionEdits
	versionNotBefore
	versionExpires
	versionDestroyAt
	versionErased
	versionToken
	versionLabels
	versionTags
	versionInline
	versionDropped // has no field
	versionFlagsEnd
)

// flag adds bit f to flags when on.
func flag(flags *uint64, f uint64, on bool) {
	if on {
		*flags |= f
	}
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendPairs(b []byte, ps []pair) []byte {
	b = binary.AppendUvarint(b, uint64(len(ps)))
	for _, p := range ps {
		b = appendText(appendText(b, p.name), p.value)
	}
	return b
}

var (
	firstTime = time.Unix(0, math.MinInt64)
	lastTime  = time.Unix(0, math.MaxInt64)
)

// appendTime keeps moments from 1677 to 2262; others become the nearest of these.
func appendTime(b []byte, t time.Time) []byte {
	switch {
	case t.Before(firstTime):
		t = firstTime
	case t.After(lastTime):
		t = lastTime
	}
	return binary.BigEndian.AppendUint64(b, uint64(t.UnixNano()))
}

func (s *secret) flags() uint64 {
	var f uint64
	flag(&f, secretCAS, s.casRequired)
	flag(&f, secretMetaCAS, s.metaCASRequired)
	flag(&f, secretCurrent, s.current != s.last)
	flag(&f, secretMaxVersions, s.maxVersions != 0)
	flag(&f, secretDeleteAfter, s.deleteAfter != 0)
	flag(&f, secretCustom, len(s.custom) > 0)
	flag(&f, secretDescription, s.description != "")
	flag(&f, secretOwner, s.owner != "")
	flag(&f, secretTags, len(s.tags) > 0)
	flag(&f, secretExpires, !s.expires.IsZero())
	flag(&f, secretDeleted, !s.deleted.IsZero())
	flag(&f, secretPurge, !s.purge.IsZero())
	flag(&f, secretPlan, s.plan != nil)
	flag(&f, secretExtra, len(s.extra) > 0)
	return f
}

// encode is the metadata row.
func (s *secret) encode() []byte {
	f := s.flags()
	b := make([]byte, 0, 64+40*len(s.versions)+s.inlined())
	b = append(b, formatSecret)
	b = binary.AppendUvarint(b, f)
	b = appendTime(appendTime(b, s.created), s.updated)
	b = binary.AppendUvarint(b, s.edits)
	b = binary.AppendUvarint(b, s.last)
	if f&secretCurrent != 0 {
		b = binary.AppendUvarint(b, s.current)
	}
	if f&secretMaxVersions != 0 {
		b = binary.AppendUvarint(b, s.maxVersions)
	}
	if f&secretDeleteAfter != 0 {
		b = binary.AppendVarint(b, int64(s.deleteAfter))
	}
	if f&secretCustom != 0 {
		b = appendPairs(b, s.custom)
	}
	b = s.appendManaged(b, f)
	b = binary.AppendUvarint(b, uint64(len(s.versions)))
	for i := range s.versions {
		b = s.versions[i].append(b)
	}
	return b
}

// appendManaged appends the fields that the Vault views do not show.
func (s *secret) appendManaged(b []byte, f uint64) []byte {
	if f&secretDescription != 0 {
		b = appendText(b, s.description)
	}
	if f&secretOwner != 0 {
		b = appendText(b, s.owner)
	}
	if f&secretTags != 0 {
		b = appendPairs(b, s.tags)
	}
	if f&secretExpires != 0 {
		b = appendTime(b, s.expires)
	}
	if f&secretDeleted != 0 {
		b = appendTime(b, s.deleted)
	}
	if f&secretPurge != 0 {
		b = appendTime(b, s.purge)
	}
	if f&secretPlan != 0 {
		b = s.plan.append(b)
	}
	if f&secretExtra != 0 {
		b = appendPairs(b, s.extra)
	}
	return b
}

// Flags of a rotation plan.
const (
	planEnabled = 1 << iota
	planNext
	planLast
	planFlagsEnd
)

func (p *plan) append(b []byte) []byte {
	var f uint64
	flag(&f, planEnabled, p.enabled)
	flag(&f, planNext, !p.next.IsZero())
	flag(&f, planLast, !p.last.IsZero())
	b = binary.AppendUvarint(b, f)
	b = appendText(appendText(b, p.rotator), p.schedule)
	b = binary.AppendVarint(b, int64(p.every))
	b = binary.AppendVarint(b, int64(p.window))
	if f&planNext != 0 {
		b = appendTime(b, p.next)
	}
	if f&planLast != 0 {
		b = appendTime(b, p.last)
	}
	return b
}

func (v *version) flags() uint64 {
	f := uint64(v.state) | uint64(v.kind)<<2
	flag(&f, versionGone, !v.gone.IsZero())
	flag(&f, versionMedia, v.media != "")
	flag(&f, versionChunks, v.chunks != 0)
	flag(&f, versionEdits, v.edits != 0)
	flag(&f, versionNotBefore, !v.notBefore.IsZero())
	flag(&f, versionExpires, !v.expires.IsZero())
	flag(&f, versionDestroyAt, !v.destroyAt.IsZero())
	flag(&f, versionErased, !v.erased.IsZero())
	flag(&f, versionToken, v.token != "")
	flag(&f, versionLabels, len(v.labels) > 0)
	flag(&f, versionTags, len(v.tags) > 0)
	flag(&f, versionInline, v.inline)
	flag(&f, versionDropped, v.dropped)
	return f
}

func (v *version) append(b []byte) []byte {
	f := v.flags()
	b = binary.AppendUvarint(b, f)
	b = binary.AppendUvarint(b, v.number)
	b = append(b, v.id[:]...)
	b = appendTime(b, v.created)
	b = binary.AppendUvarint(b, v.size)
	if f&versionGone != 0 {
		b = appendTime(b, v.gone)
	}
	if f&versionMedia != 0 {
		b = appendText(b, v.media)
	}
	if f&versionChunks != 0 {
		b = binary.AppendUvarint(b, v.chunks)
	}
	if f&versionEdits != 0 {
		b = binary.AppendUvarint(b, v.edits)
	}
	return v.appendManaged(b, f)
}

// appendManaged appends the fields that the Vault views do not show.
func (v *version) appendManaged(b []byte, f uint64) []byte {
	if f&versionNotBefore != 0 {
		b = appendTime(b, v.notBefore)
	}
	if f&versionExpires != 0 {
		b = appendTime(b, v.expires)
	}
	if f&versionDestroyAt != 0 {
		b = appendTime(b, v.destroyAt)
	}
	if f&versionErased != 0 {
		b = appendTime(b, v.erased)
	}
	if f&versionToken != 0 {
		b = appendText(b, v.token)
	}
	if f&versionLabels != 0 {
		b = binary.AppendUvarint(b, uint64(len(v.labels)))
		for _, l := range v.labels {
			b = appendText(b, l)
		}
	}
	if f&versionTags != 0 {
		b = appendPairs(b, v.tags)
	}
	if f&versionInline != 0 {
		b = append(b, v.body...)
	}
	return b
}
