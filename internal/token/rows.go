package token

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/schedule"
	"github.com/strongroom/strongroom/internal/store"
)

// The kinds of due-time that tokens have.
const (
	kindExpire = "token"        // a token has reached its expiry
	kindRevoke = "token-revoke" // a revocation must be finished
)

// rowKey names a token's row.
type rowKey struct{ namespace, id string }

func (k rowKey) String() string { return k.namespace + "/token/id/" + k.id }

// children is the prefix of the links to a token's children.
func (k rowKey) children() string { return k.namespace + "/token/child/" + k.id + "/" }

// link is the key that ties a token to a parent.
func (k rowKey) link(parent rowKey) string { return parent.children() + k.namespace + "/" + k.id }

// linked is the child that a link leads to.
func linked(key, prefix string) (rowKey, error) {
	ns, id, ok := strings.Cut(strings.TrimPrefix(key, prefix), "/")
	if !ok {
		return rowKey{}, fmt.Errorf("token: malformed link: %w", store.ErrCorrupt)
	}
	return rowKey{ns, id}, nil
}

func accessorKey(ns, hash string) string { return ns + "/token/accessor/" + hash }

func (t *Token) key() rowKey { return rowKey{t.NamespaceID, t.ID} }

func (t *Token) parent() rowKey { return rowKey{t.ParentNamespace, t.ParentID} }

// accessorRow is the value of an accessor's row.
type accessorRow struct {
	Accessor string `json:"accessor"`
	TokenID  string `json:"token"`
}

// setDue moves a token's due-time; zero: none. The caller writes the row.
func setDue(tx *store.Tx, t *Token, at time.Time) error {
	it := schedule.Item{Namespace: t.NamespaceID, At: t.Due, Kind: kindExpire, ID: t.ID}
	if !t.Due.IsZero() {
		schedule.Remove(tx, it)
	}
	t.Due, it.At = at, at
	if at.IsZero() {
		return nil
	}
	return schedule.Add(tx, it)
}

func decodeToken(k rowKey, value []byte) (*Token, error) {
	t := &Token{ID: k.id, NamespaceID: k.namespace}
	if err := json.Unmarshal(value, t); err != nil {
		return nil, fmt.Errorf("token: row cannot be read: %w", store.ErrCorrupt)
	}
	for _, c := range t.BoundCIDRs {
		p, err := parseCIDR(c)
		if err != nil {
			return nil, fmt.Errorf("token: row has a bad address range: %w", store.ErrCorrupt)
		}
		t.cidrs = append(t.cidrs, p)
	}
	return t, nil
}

// parseCIDR reads an address or a range of addresses.
func parseCIDR(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		a = a.Unmap().WithZone("")
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	return p.Masked(), err
}

func loadToken(ctx context.Context, r store.Reader, k rowKey) (*Token, error) {
	e, err := r.Get(ctx, k.String())
	if err != nil || !e.Exists() {
		return nil, err
	}
	return decodeToken(k, e.Value)
}

// read reads a token as part of a transaction; nil when it is dead.
func read(tx *store.Tx, k rowKey) (*Token, error) {
	e, err := tx.Get(k.String())
	if err != nil || !e.Exists() {
		return nil, err
	}
	return decodeToken(k, e.Value)
}

func write(tx *store.Tx, t *Token) error {
	value, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("token: encode row: %w", err)
	}
	tx.Put(t.key().String(), value)
	return nil
}
