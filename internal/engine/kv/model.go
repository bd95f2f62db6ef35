package kv

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"
)

// state is what a version's payload may be used for at some moment.
type state uint8

const (
	enabled   state = iota // readable
	disabled               // kept, not readable, until it is enabled again
	deleted                // kept, not readable, until it is undeleted
	destroyed              // the payload is gone for good
)

// kind says what a payload's bytes are.
type kind uint8

const (
	kindJSON   kind = iota // a JSON object, or null
	kindText               // UTF-8 text
	kindBinary             // any bytes
)

// uuid names one version's payload for ever.
type uuid [16]byte

// newUUID makes a random UUID (RFC 9562, version 4).
func newUUID() (uuid, error) {
	var u uuid
	if _, err := rand.Read(u[:]); err != nil {
		return u, fmt.Errorf("version id: %w", err)
	}
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return u, nil
}

// key is the UUID as storage keys spell it: 32 hexadecimal digits.
func (u uuid) key() string {
	var b [32]byte
	hex.Encode(b[:], u[:])
	return string(b[:])
}

// version describes one version; its payload is in rows of its own.
type version struct {
	number  uint64 // from 1; never used twice in the life of a secret, but see replace
	id      uuid   // names the payload rows
	created time.Time
	state   state     // enabled, disabled or destroyed; deletion is a time
	gone    time.Time // deleted from then on, in the past or to come; zero: not
	dropped bool      // somebody has deleted it: then gone only tells when, and no clock is asked
	kind    kind
	media   string // content type as the writer named it; may be empty
	size    uint64 // of the payload, in bytes
	chunks  uint64 // payload rows; 0: one
	inline  bool   // the payload is in the metadata row itself, as body
	body    []byte
	edits   uint64 // changes of state, labels or tags: the source of a version's etag

	notBefore time.Time // as the writer says; informs, does not block
	expires   time.Time // as the writer says; informs, does not block
	destroyAt time.Time // the payload is to be erased then
	erased    time.Time // when the payload was
	token     string    // idempotency token, the version's public id in one dialect
	labels    []string  // names that point here (AWSCURRENT, aliases); sorted
	tags      []pair    // sorted by name
}

// at is the state at a moment: a deletion that is due counts.
func (v *version) at(now time.Time) state {
	if v.state != destroyed && v.deletedAt(now) {
		return deleted
	}
	return v.state
}

// deletedAt reports whether the version has been deleted, or its deletion for its age is due.
func (v *version) deletedAt(now time.Time) bool {
	return v.dropped || !v.gone.IsZero() && !now.Before(v.gone)
}

// rows is the number of rows of its own that the payload has.
func (v *version) rows() int {
	if v.inline {
		return 0
	}
	return max(1, int(v.chunks))
}

// inlined is the size of all payloads in the metadata row, in bytes.
func (s *secret) inlined() (n int) {
	for i := range s.versions {
		n += len(s.versions[i].body)
	}
	return n
}

// pair is one name and value of a small sorted map.
type pair struct{ name, value string }

// plan says how a secret is rotated.
type plan struct {
	enabled  bool
	rotator  string        // function, webhook or topic that is told
	schedule string        // rate(...) or cron(...); empty: every
	every    time.Duration // period
	window   time.Duration // how long after the due time it may start
	next     time.Time
	last     time.Time
}

// secret is what one metadata row holds: everything but the larger payloads.
type secret struct {
	created time.Time
	updated time.Time
	edits   uint64 // changes of the metadata itself
	last    uint64 // highest version number ever made
	current uint64 // version that a plain read means; 0: none yet

	casRequired     bool          // a data write must name the current version
	metaCASRequired bool          // a metadata write must name edits
	maxVersions     uint64        // versions kept; 0: as the mount says
	deleteAfter     time.Duration // age at which a version is deleted; 0: as the mount says; negative: never
	custom          []pair        // custom metadata, sorted by name

	description string
	owner       string
	tags        []pair    // sorted by name
	expires     time.Time // the whole secret is gone then
	deleted     time.Time // the whole secret was deleted, and can be recovered
	purge       time.Time // a deleted secret is erased then
	plan        *plan
	extra       []pair // what only one dialect knows, by dialect:name; sorted

	versions []version // newest first
}

// find is the version of a number, or nil.
func (s *secret) find(number uint64) *version {
	for i := range s.versions {
		if s.versions[i].number == number {
			return &s.versions[i]
		}
	}
	return nil
}

// oldest is the number of the oldest version kept, or 0 while all are.
func (s *secret) oldest() uint64 {
	if n := len(s.versions); n > 0 && s.versions[n-1].number > 1 {
		return s.versions[n-1].number
	}
	return 0
}

// hidden reports whether the whole secret is deleted or expired.
func (s *secret) hidden(now time.Time) bool {
	return !s.deleted.IsZero() || !s.expires.IsZero() && !now.Before(s.expires)
}

// add makes v the newest and current version, numbered behind all others.
func (s *secret) add(v version) *version {
	s.last++
	v.number, s.current, s.updated = s.last, s.last, v.created
	s.versions = append(s.versions, version{})
	copy(s.versions[1:], s.versions)
	s.versions[0] = v
	return &s.versions[0]
}

// replace makes v the only version. It takes the current version's number: the
// unversioned view knows no numbers, and its secrets stay at version 1.
func (s *secret) replace(v version) (dropped []version) {
	dropped = s.versions
	v.number = max(1, s.current, s.last)
	s.last, s.current, s.updated = v.number, v.number, v.created
	s.versions = []version{v}
	return dropped
}

// prune drops the oldest versions until at most keep are left.
func (s *secret) prune(keep int) (dropped []version) {
	if len(s.versions) <= keep {
		return nil
	}
	dropped = s.versions[keep:]
	s.versions = s.versions[:keep:keep]
	return dropped
}
