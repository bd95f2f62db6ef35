//go:build !linux

package barrier

// mapPage takes a page from the heap where there is nothing better.
func mapPage() (page []byte, locked bool, err error) { return make([]byte, 4096), false, nil }

func unmapPage([]byte) error { return nil }
