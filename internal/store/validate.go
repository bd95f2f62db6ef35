package store

import "fmt"

// Validate refuses what no engine takes: a malformed commit with ErrInvalid, one
// beyond the limits and the room for layers with ErrTooLarge. Engines call it
// before anything else.
func Validate(checks []Check, writes []Write) error {
	if len(writes) > MaxWrites || len(checks) > MaxChecks {
		return fmt.Errorf("%w: %d writes and %d checks", ErrTooLarge, len(writes), len(checks))
	}
	for _, c := range checks {
		if err := validateKey(c.Key); err != nil {
			return err
		}
	}
	size := 0
	for i, w := range writes {
		if err := validateKey(w.Key); err != nil {
			return err
		}
		if writtenBefore(writes[:i], w.Key) {
			return fmt.Errorf("%w: a key is written twice", ErrInvalid)
		}
		size += len(w.Key) + len(w.Value)
	}
	if size > MaxCommitBytes+len(writes)*LayerWriteBytes {
		return fmt.Errorf("%w: %d bytes", ErrTooLarge, size)
	}
	return nil
}

func validateKey(key string) error {
	if key == "" {
		return fmt.Errorf("%w: an empty key", ErrInvalid)
	}
	if len(key) > MaxKeyBytes+LayerKeyBytes {
		return fmt.Errorf("%w: a key of %d bytes", ErrTooLarge, len(key))
	}
	return nil
}

// writtenBefore compares with every earlier write: commits are small, most have
// fewer than five writes, and a set would have to be allocated for each.
func writtenBefore(writes []Write, key string) bool {
	for _, w := range writes {
		if w.Key == key {
			return true
		}
	}
	return false
}
