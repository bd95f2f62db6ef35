package oidc

import (
	"crypto/rand"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// clientIDLen is how many characters an identifier of a client has.
const clientIDLen = 32

// random is a text of letters and digits, of 5 bits each.
func random(n int) string {
	const digits = "abcdefghijkmnpqrstuvwxyz23456789"
	b := make([]byte, n)
	rand.Read(b) // never fails: crypto/rand ends the process instead
	for i := range b {
		b[i] = digits[b[i]&31]
	}
	return string(b)
}

// keyName is the one spelling of a key's name in a field.
func keyName(text string) string { return strings.ToLower(strings.TrimSpace(text)) }

// signable refuses a key that is not there, or whose tokens would outlive what is known of it.
func (s *Store) signable(tx *store.Tx, ns, name, field string, ttl time.Duration) error {
	k, err := load[keyRow](tx, keyKey(ns, name))
	switch {
	case err != nil:
		return err
	case k == nil:
		return api.Errorf(api.Invalid, "key: there is no such key")
	case ttl > k.Verify:
		return api.Errorf(api.Invalid, "%s: cannot be longer than the verification_ttl of the key, which is %d seconds", field, api.Duration(k.Verify).Seconds())
	}
	return nil
}

// users are the roles and clients that use a key. The guard has been read.
func (s *Store) users(tx *store.Tx, ns, name string) ([]string, error) {
	var out []string
	err := s.eachUser(tx, ns, func(user, key string, _ time.Duration) {
		if key == name {
			out = append(out, user)
		}
	})
	return out, err
}

// longest refuses terms of a key under which its tokens would outlive what is known of it.
func (s *Store) longest(tx *store.Tx, ns, name string, verify time.Duration) error {
	over := false
	err := s.eachUser(tx, ns, func(_, key string, ttl time.Duration) { over = over || key == name && ttl > verify })
	if err == nil && over {
		return api.Errorf(api.Invalid, "unable to update the key because it is currently referenced by one or more roles or clients with a token ttl greater than %d seconds", api.Duration(verify).Seconds())
	}
	return err
}

// eachUser visits what uses keys.
func (s *Store) eachUser(tx *store.Tx, ns string, visit func(user, key string, ttl time.Duration)) error {
	err := each(tx.Context(), s.Store, area(ns, "role"), func(n string, r *roleRow) { visit("role "+n, r.Key, r.TTL) })
	if err != nil {
		return err
	}
	return each(tx.Context(), s.Store, area(ns, "client"), func(n string, r *clientRow) { visit("client "+n, r.Key, r.IDTTL) })
}
