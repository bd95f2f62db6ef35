package seal

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/strongroom/strongroom/internal/barrier"
)

// Shamir keeps a slot's key in shares that people hold. The slot stores a
// salted commitment to each share, so that a wrong one is named when it is
// handed in and not only when they do not fit together.
type Shamir struct{}

var _ Gatherer = Shamir{}

// Errors about shares. Test with errors.Is.
var (
	// ErrWrongShare says that a share claims to be of a set and is not as it was made.
	ErrWrongShare = errors.New("seal: wrong unseal key")
	// ErrUnknownSet says that no slot takes a share: its slot was removed, or it
	// is another cluster's.
	ErrUnknownSet = errors.New("seal: no key slot takes this unseal key")
)

const (
	saltBytes       = 16
	commitmentBytes = 16
)

// shamirParams is what a slot stores of its set.
type shamirParams struct {
	Set         []byte   `json:"set"`
	Shares      int      `json:"shares"`
	Threshold   int      `json:"threshold"`
	Salt        []byte   `json:"salt"`
	Commitments [][]byte `json:"commitments"` // by index
}

// Create splits a new key.
func (Shamir) Create(_ context.Context, _ string, spec SlotSpec) (Created, error) {
	var key [secretBytes]byte
	defer clear(key[:])
	p := shamirParams{
		Set: make([]byte, setBytes), Salt: make([]byte, saltBytes),
		Shares: spec.Shares, Threshold: spec.Threshold,
	}
	for _, b := range [][]byte{key[:], p.Set, p.Salt} {
		if _, err := rand.Read(b); err != nil {
			return Created{}, fmt.Errorf("seal: reading random bytes: %w", err)
		}
	}
	points, err := split(&key, spec.Shares, spec.Threshold)
	if err != nil {
		return Created{}, err
	}
	shares := p.label(points)
	for _, s := range shares {
		c, err := p.commitment(s)
		if err != nil {
			return Created{}, err
		}
		p.Commitments = append(p.Commitments, c)
	}
	params, err := json.Marshal(p)
	return Created{Key: append([]byte(nil), key[:]...), Params: params, Shares: shares}, err
}

func (p *shamirParams) label(points []point) []Share {
	shares := make([]Share, len(points))
	for i, at := range points {
		shares[i] = Share{
			set: [setBytes]byte(p.Set), threshold: byte(p.Threshold), index: byte(i + 1), point: at,
		}
	}
	return shares
}

// commitment recognises a share. The share is 256 random bits, so nobody finds
// it from this.
func (p *shamirParams) commitment(s Share) ([]byte, error) {
	k, err := barrier.DeriveKey(p.Salt, string(p.Set), barrier.ShareCommitment)
	if err != nil {
		return nil, err
	}
	encoded := s.encode()
	defer clear(encoded)
	sum, err := k.HMAC(nil, encoded)
	if err != nil {
		return nil, err
	}
	return sum[:commitmentBytes], nil
}

func decodeShamir(params json.RawMessage) (*shamirParams, error) {
	var p shamirParams
	if err := json.Unmarshal(params, &p); err != nil {
		return nil, fmt.Errorf("seal: a shamir slot's parameters: %w", err)
	}
	if err := checkSplit(p.Shares, p.Threshold); err != nil {
		return nil, err
	}
	if len(p.Set) != setBytes || len(p.Salt) != saltBytes || len(p.Commitments) != p.Shares {
		return nil, errors.New("seal: a shamir slot's parameters are incomplete")
	}
	return &p, nil
}

// Size implements Gatherer.
func (Shamir) Size(params json.RawMessage) (shares, threshold int, err error) {
	p, err := decodeShamir(params)
	if err != nil {
		return 0, 0, err
	}
	return p.Shares, p.Threshold, nil
}

// Accept implements Gatherer.
func (Shamir) Accept(params json.RawMessage, s Share) (bool, error) {
	p, err := decodeShamir(params)
	if err != nil {
		return false, err
	}
	if string(p.Set) != string(s.set[:]) {
		return false, nil
	}
	if int(s.index) > p.Shares {
		return false, fmt.Errorf("%w: number %d of a set of %d", ErrWrongShare, s.index, p.Shares)
	}
	c, err := p.commitment(s)
	if err != nil {
		return false, err
	}
	if subtle.ConstantTimeCompare(c, p.Commitments[s.index-1]) != 1 {
		return false, fmt.Errorf("%w: number %d is not as it was handed out", ErrWrongShare, s.index)
	}
	return true, nil
}

// Combine implements Gatherer.
func (Shamir) Combine(params json.RawMessage, shares []Share) ([]byte, error) {
	p, err := decodeShamir(params)
	if err != nil {
		return nil, err
	}
	if len(shares) < p.Threshold {
		return nil, fmt.Errorf("%w: %d of %d", ErrFewShares, len(shares), p.Threshold)
	}
	points := make([]point, len(shares))
	defer clear(points)
	for i, s := range shares {
		points[i] = s.point
	}
	secret, err := combine(points)
	defer clear(secret[:])
	return append([]byte(nil), secret[:]...), err
}
