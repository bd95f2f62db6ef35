package kv

import (
	"encoding/binary"
	"time"
)

// reader takes a stored row apart. Its first error stays.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.b = nil
}

// format takes the row's first byte, which must be want.
func (r *reader) format(want byte) {
	if len(r.b) == 0 {
		r.fail(errMalformed)
		return
	}
	if r.b[0] != want {
		r.fail(errFormat)
		return
	}
	r.b = r.b[1:]
}

func (r *reader) uvarint() uint64 {
	n, k := binary.Uvarint(r.b)
	if k <= 0 {
		r.fail(errMalformed)
		return 0
	}
	r.b = r.b[k:]
	return n
}

func (r *reader) varint() int64 {
	n, k := binary.Varint(r.b)
	if k <= 0 {
		r.fail(errMalformed)
		return 0
	}
	r.b = r.b[k:]
	return n
}

// flags takes a varint that must be below end.
func (r *reader) flags(end uint64) uint64 {
	f := r.uvarint()
	if f >= end {
		r.fail(errFormat)
	}
	return f
}

// take is the next n bytes; they belong to the row.
func (r *reader) take(n uint64) []byte {
	if n > uint64(len(r.b)) {
		r.fail(errMalformed)
		return nil
	}
	out := r.b[:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) text() string { return string(r.take(r.uvarint())) }

func (r *reader) time() time.Time {
	b := r.take(8)
	if b == nil {
		return time.Time{}
	}
	return time.Unix(0, int64(binary.BigEndian.Uint64(b))).UTC()
}

func (r *reader) id() (u uuid) {
	copy(u[:], r.take(uint64(len(u))))
	return u
}

// count is the number of items that follow, each of at least size bytes.
func (r *reader) count(size int) int {
	n := r.uvarint()
	if n > uint64(len(r.b)/size) {
		r.fail(errMalformed)
		return 0
	}
	return int(n)
}

func (r *reader) pairs() []pair {
	out := make([]pair, r.count(2))
	for i := range out {
		out[i] = pair{name: r.text(), value: r.text()}
	}
	return out
}

func (r *reader) texts() []string {
	out := make([]string, r.count(1))
	for i := range out {
		out[i] = r.text()
	}
	return out
}

// end demands that all was read.
func (r *reader) end() error {
	if r.err == nil && len(r.b) > 0 {
		r.fail(errMalformed)
	}
	return r.err
}

// minVersion is the shortest form of a version, in bytes.
const minVersion = 1 + 1 + 16 + 8 + 1

// decodeSecret reads a whole metadata row.
func decodeSecret(row []byte) (*secret, error) {
	r := &reader{b: row}
	s := &secret{}
	n := r.secret(s)
	s.versions = make([]version, n, n+1)
	for i := range s.versions {
		r.version(&s.versions[i])
	}
	return s, r.end()
}

// decodeVersion reads the secret's own fields and, of its versions, only the
// one with a number (0: the current one); found is false when there is none.
func decodeVersion(row []byte, number uint64, s *secret, v *version) (found bool, err error) {
	r := reader{b: row}
	n := r.secret(s)
	if number == 0 {
		number = s.current
	}
	for range n {
		if r.version(v); r.err != nil || v.number == number {
			return r.err == nil, r.err
		}
	}
	return false, r.end()
}

// secret reads all but the versions and returns their number.
func (r *reader) secret(s *secret) (versions int) {
	r.format(formatSecret)
	f := r.flags(secretFlagsEnd)
	s.created, s.updated = r.time(), r.time()
	s.edits, s.last = r.uvarint(), r.uvarint()
	s.current = s.last
	s.casRequired, s.metaCASRequired = f&secretCAS != 0, f&secretMetaCAS != 0
	if f&secretCurrent != 0 {
		s.current = r.uvarint()
	}
	if f&secretMaxVersions != 0 {
		s.maxVersions = r.uvarint()
	}
	if f&secretDeleteAfter != 0 {
		s.deleteAfter = time.Duration(r.varint())
	}
	if f&secretCustom != 0 {
		s.custom = r.pairs()
	}
	if f >= secretDescription {
		r.managed(s, f)
	}
	return r.count(minVersion)
}

func (r *reader) managed(s *secret, f uint64) {
	if f&secretDescription != 0 {
		s.description = r.text()
	}
	if f&secretOwner != 0 {
		s.owner = r.text()
	}
	if f&secretTags != 0 {
		s.tags = r.pairs()
	}
	if f&secretExpires != 0 {
		s.expires = r.time()
	}
	if f&secretDeleted != 0 {
		s.deleted = r.time()
	}
	if f&secretPurge != 0 {
		s.purge = r.time()
	}
	if f&secretPlan != 0 {
		s.plan = r.plan()
	}
	if f&secretExtra != 0 {
		s.extra = r.pairs()
	}
}

func (r *reader) plan() *plan {
	f := r.flags(planFlagsEnd)
	p := &plan{enabled: f&planEnabled != 0, rotator: r.text(), schedule: r.text()}
	p.every, p.window = time.Duration(r.varint()), time.Duration(r.varint())
	if f&planNext != 0 {
		p.next = r.time()
	}
	if f&planLast != 0 {
		p.last = r.time()
	}
	return p
}

func (r *reader) version(v *version) {
	*v = version{}
	f := r.flags(versionFlagsEnd)
	v.state, v.kind, v.dropped = state(f&3), kind(f>>2&3), f&versionDropped != 0
	if v.state == deleted || v.kind > kindBinary {
		r.fail(errFormat)
	}
	v.number, v.id = r.uvarint(), r.id()
	v.created, v.size = r.time(), r.uvarint()
	if f&versionGone != 0 {
		v.gone = r.time()
	}
	if f&versionMedia != 0 {
		v.media = r.text()
	}
	if f&versionChunks != 0 {
		v.chunks = r.uvarint()
	}
	if f&versionEdits != 0 {
		v.edits = r.uvarint()
	}
	if f >= versionNotBefore {
		r.managedVersion(v, f)
	}
	if v.chunks > maxChunks {
		r.fail(errMalformed)
	}
}

func (r *reader) managedVersion(v *version, f uint64) {
	if f&versionNotBefore != 0 {
		v.notBefore = r.time()
	}
	if f&versionExpires != 0 {
		v.expires = r.time()
	}
	if f&versionDestroyAt != 0 {
		v.destroyAt = r.time()
	}
	if f&versionErased != 0 {
		v.erased = r.time()
	}
	if f&versionToken != 0 {
		v.token = r.text()
	}
	if f&versionLabels != 0 {
		v.labels = r.texts()
	}
	if f&versionTags != 0 {
		v.tags = r.pairs()
	}
	if f&versionInline != 0 {
		v.inline, v.body = true, r.take(v.size)
	}
}
