package store

import (
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
