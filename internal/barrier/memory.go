package barrier

import "fmt"

// memory holds long-lived keys in pages outside the Go heap, which the
// garbage collector neither copies nor leaves behind. Where the platform allows
// it they are kept out of swap and of core dumps. It is not safe for concurrent use.
type memory struct {
	pages  [][]byte
	free   [][]byte // unused slots of KeyBytes each
	locked bool     // every page is locked
	// release gives a wiped page back to the system.
	release func(page []byte) error
}

func newMemory() *memory { return &memory{locked: true, release: unmapPage} }

// keep copies secret (KeyBytes long) into the memory and returns the copy.
func (m *memory) keep(secret []byte) ([]byte, error) {
	if len(secret) != KeyBytes {
		return nil, fmt.Errorf("barrier: a key of %d bytes, not %d", len(secret), KeyBytes)
	}
	if len(m.free) == 0 {
		if err := m.grow(); err != nil {
			return nil, err
		}
	}
	slot := m.free[len(m.free)-1]
	m.free = m.free[:len(m.free)-1]
	copy(slot, secret)
	return slot, nil
}

func (m *memory) grow() error {
	page, locked, err := mapPage()
	if err != nil {
		return fmt.Errorf("barrier: memory for keys: %w", err)
	}
	m.locked = m.locked && locked
	m.pages = append(m.pages, page)
	for at := 0; at+KeyBytes <= len(page); at += KeyBytes {
		m.free = append(m.free, page[at:at+KeyBytes:at+KeyBytes])
	}
	return nil
}

// drop wipes one secret and makes its place free.
func (m *memory) drop(slot []byte) {
	clear(slot)
	m.free = append(m.free, slot)
}

// destroy wipes everything and gives the pages back. Nothing that keep
// returned may be touched afterwards.
func (m *memory) destroy() error {
	var failed error
	for _, page := range m.pages {
		clear(page)
		if err := m.release(page); err != nil {
			failed = fmt.Errorf("barrier: giving back memory of keys: %w", err)
		}
	}
	m.pages, m.free = nil, nil
	return failed
}
