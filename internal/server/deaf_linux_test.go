package server

import (
	"errors"
	"net"
	"testing"
	"time"
)

// TestDeafListener has a connection that was made before be accepted after, and
// none made from then on.
func TestDeafListener(t *testing.T) {
	l, err := listenTCP("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	before, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer before.Close()
	if err := deafen(l); err != nil {
		t.Fatal(err)
	}
	_, err = net.DialTimeout("tcp", l.Addr().String(), 300*time.Millisecond)
	if late, ok := errors.AsType[net.Error](err); !ok || !late.Timeout() {
		t.Errorf("a deaf listener answers: %v", err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := before.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("a connection that was made before: %d bytes, %v", n, err)
	}
}
