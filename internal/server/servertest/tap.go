package servertest

import (
	"bytes"
	"sync"
)

// Tap is a writer that keeps what it was given and fails when it is told to. It
// is safe for concurrent use.
type Tap struct {
	mu    sync.Mutex
	kept  bytes.Buffer
	judge func(line []byte) error
}

// Write keeps p unless Break's judge refuses it.
func (t *Tap) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.judge != nil {
		if err := t.judge(p); err != nil {
			return 0, err
		}
	}
	return t.kept.Write(p)
}

// Break has every later write judged; nil mends the tap.
func (t *Tap) Break(judge func(line []byte) error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.judge = judge
}

// Bytes is a copy of all that was kept.
func (t *Tap) Bytes() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return bytes.Clone(t.kept.Bytes())
}

// Reset forgets what was kept.
func (t *Tap) Reset() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept.Reset()
}
