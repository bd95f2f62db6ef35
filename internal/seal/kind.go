package seal

import (
	"context"
	"encoding/json"
	"fmt"
)

// Kind is a way to keep the key of a slot. It is an Opener or a Gatherer besides.
type Kind interface {
	// Create makes a key for the new slot called id, and whatever has to be
	// stored to get it again. What it keeps outside the store is durable when it
	// returns.
	Create(ctx context.Context, id string, spec SlotSpec) (Created, error)
}

// Opener is a Kind that gets a slot's key without people.
type Opener interface {
	Kind
	// Recover gets the key that Create made. params are not yet authenticated.
	Recover(ctx context.Context, params json.RawMessage) (key []byte, err error)
}

// Gatherer is a Kind whose key people hold in shares.
type Gatherer interface {
	Kind
	// Size is how many shares there are and how many are needed.
	Size(params json.RawMessage) (shares, threshold int, err error)
	// Accept reports whether a share is of this slot's set, and with an error
	// that names the share, that it claims to be and is not.
	Accept(params json.RawMessage, s Share) (bool, error)
	// Combine makes the key of accepted shares, as many as are needed.
	Combine(params json.RawMessage, shares []Share) (key []byte, err error)
}

// Forgetter is a Kind that can destroy what it keeps outside the store.
type Forgetter interface {
	// Forget destroys a removed slot's key. Forgetting twice is no error.
	Forget(ctx context.Context, params json.RawMessage) error
}

// Kinds is the table of the kinds a server has, by their names.
type Kinds map[string]Kind

// The kinds of this package.
const (
	KindShamir = "shamir" // shares that people hold
	KindFile   = "file"   // a key in a local file
)

// SlotSpec says what slot to make.
type SlotSpec struct {
	Kind      string // one of the server's kinds
	Name      string // for people; may be empty
	Shares    int    // shamir: how many shares, 1 to 255
	Threshold int    // shamir: how many of them are needed
}

// Created is what a Kind made for a new slot.
type Created struct {
	Key    []byte          // 32 bytes; the caller wipes it
	Params json.RawMessage // stored in the clear with the slot
	Shares []Share         // to hand out, once
}

func (k Kinds) find(name string) (Kind, error) {
	if kind := k[name]; kind != nil {
		return kind, nil
	}
	return nil, fmt.Errorf("%w %q", ErrKind, name)
}
