package api

import "time"

// Leased is a response that is lent rather than given: a credential that the
// engine made for this caller and takes back. The gate keeps its lease before the
// answer is sent, and answers with the lease's id.
//
// The lease ends at its time, when somebody revokes it, when its mount is disabled
// or moved, and when the token that asked for it dies. A token at its last use
// gets no lease.
type Leased interface {
	// Lease is what to keep; nil: this answer is not lent after all.
	Lease() *Lease
}

// Lease is what an engine asks to be kept with an answer.
type Lease struct {
	Kind      string        // names, within the engine, the LeaseKind that renews and revokes it
	TTL       time.Duration // 0: the mount's default
	MaxTTL    time.Duration // from issue, renewals included; 0: the mount's maximum, which it cannot exceed
	Renewable bool
	// Private is what Renew and Revoke need to know, at most a few KiB. It is
	// encrypted in the store, and neither answered nor logged.
	Private []byte
}

// Held is a lease as its engine sees it again.
type Held struct {
	ID        string // as the holder knows it
	Private   []byte
	Issued    time.Time
	Expires   time.Time
	Increment time.Duration // for how long, from now, the holder asks for; 0: does not say
}

// LeaseKind is how an engine takes care of one kind of lease. The Call has the
// mount and its store, and no caller.
type LeaseKind struct {
	// Renew makes what was lent live on. It answers what has changed: a TTL from now
	// (0: what the holder asks for, or the usual), a MaxTTL from issue and Private;
	// the zero value of each, or a nil Lease, leaves it as it was. A nil Renew has
	// nothing to do. For something that Revoke has removed it fails.
	Renew func(c *Call, h *Held) (*Lease, error)
	// Revoke takes back what was lent. It is called until it succeeds, possibly again
	// after that and by several nodes at once: for something that is gone already
	// it succeeds. After an error it is tried again, later each time.
	Revoke func(c *Call, h *Held) error
}
