package server

import (
	"errors"
	"io"
	"net"
	"testing"
)

// TestConnectionsAreLimited fills a listener, and holds the next connection to
// be closed until one of the others is.
func TestConnectionsAreLimited(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &limited{Listener: inner, most: 1}
	accepted := make(chan net.Conn, 4)
	go func() {
		defer close(accepted)
		for c, err := l.Accept(); err == nil; c, err = l.Accept() {
			accepted <- c
		}
	}()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", inner.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	dial()
	first := <-accepted
	if _, err := dial().Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("a connection too many gave %v", err)
	}
	for range 2 {
		if err := first.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}
	dial()
	if <-accepted == nil || l.open.Load() != 1 {
		t.Errorf("%d connections are counted", l.open.Load())
	}
	if err := inner.Close(); err != nil {
		t.Error(err)
	}
}
