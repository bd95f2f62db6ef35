package store

import (
	"context"
	"encoding/json"
	"fmt"
)

// DecodeJSON reads an entry whose value is JSON. The error names the entry.
func DecodeJSON[T any](e Entry) (*T, error) {
	v := new(T)
	if err := json.Unmarshal(e.Value, v); err != nil {
		return nil, fmt.Errorf("%w: row %q is not as it was written", ErrCorrupt, e.Key)
	}
	return v, nil
}

// LoadJSON reads a row whose value is JSON; nil when there is none.
func LoadJSON[T any](ctx context.Context, r Reader, key string) (*T, error) {
	e, err := r.Get(ctx, key)
	if err != nil || !e.Exists() {
		return nil, err
	}
	return DecodeJSON[T](e)
}

// LoadJSON reads a row whose value is JSON into a pointer, and reports whether there
// is one.
func (tx *Tx) LoadJSON(key string, into any) (found bool, err error) {
	e, err := tx.Get(key)
	if err != nil || !e.Exists() {
		return false, err
	}
	if err := json.Unmarshal(e.Value, into); err != nil {
		return false, fmt.Errorf("%w: row %q is not as it was written", ErrCorrupt, key)
	}
	return true, nil
}

// PutJSON sets a row to a value's JSON.
func (tx *Tx) PutJSON(key string, value any) error {
	b, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("store: encode row %q: %w", key, err)
	}
	tx.Put(key, b)
	return nil
}
