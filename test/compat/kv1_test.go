package compat

import (
	"errors"
	"testing"
)

func TestKV1(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		mount, ctx := c.mounted(t, "kv", nil), t.Context()
		kv := c.kv1(mount)
		_, err := kv.Get(ctx, "absent")
		if !errors.Is(err, c.gone) {
			t.Errorf("reading what is not there gave %v, want the client's not found", err)
		}
		ok(t, kv.Put(ctx, "app/db", map[string]any{"user": "ann", "port": 5432, "tls": true, "deep": map[string]any{"a": []any{"b"}}}))
		s := must(kv.Get(ctx, "app/db"))(t)
		equal(t, "data", s.Data, map[string]any{"user": "ann", "port": 5432, "tls": true, "deep": map[string]any{"a": []any{"b"}}})
		equal(t, "lease seconds", s.Raw.LeaseDuration, 2764800)
		equal(t, "lease id", s.Raw.LeaseID, "")
		equal(t, "renewable", s.Raw.Renewable, false)
		ok(t, kv.Put(ctx, "app/db", map[string]any{"user": "bob"}))
		equal(t, "data after a second put", must(kv.Get(ctx, "app/db"))(t).Data, map[string]any{"user": "bob"})
		ok(t, kv.Delete(ctx, "app/db"))
		ok(t, kv.Delete(ctx, "app/db"))
		_, err = kv.Get(ctx, "app/db")
		if !errors.Is(err, c.gone) {
			t.Errorf("reading what was deleted gave %v, want the client's not found", err)
		}
	})
}

func TestKV1Lists(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		mount := c.mounted(t, "kv", nil)
		s, err := c.logical.List(mount)
		absent(t, "an empty list", s, err)
		for _, path := range []string{"a", "b/c", "b/d/e", "b"} {
			ok(t, c.kv1(mount).Put(t.Context(), path, map[string]any{"k": "v"}))
		}
		equal(t, "keys at the top", keys(t, must(c.logical.List(mount))(t)), []string{"a", "b", "b/"})
		equal(t, "keys below", keys(t, must(c.logical.List(mount+"/b/"))(t)), []string{"c", "d/"})
		s, err = c.logical.List(mount + "/none")
		absent(t, "a list of nothing", s, err)
	})
}

// TestKV1Empty pins that an empty object is not a secret.
func TestKV1Empty(t *testing.T) {
	eachClient(t, func(t *testing.T, c *client) {
		mount := c.mounted(t, "kv", nil)
		_, err := c.logical.Write(mount+"/x", map[string]any{})
		refused(t, err, 400, "missing data fields")
	})
}
