// Package proxy owns a stand-in for a network that misbehaves, for tests of what lies on both sides of it: a TCP proxy that holds
// up, slows, resets or diverts the connections through it. It listens on a free loopback port; nothing of it is part of the product.
package proxy

import (
	"errors"
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy forwards connections to an address that may change, slows them, stops without closing any as a network does that
// is cut, or resets them all.
type Proxy struct {
	listen net.Listener

	mu    sync.Mutex
	to    string
	delay time.Duration
	conns map[net.Conn]bool
	held  chan struct{} // nil while it forwards; closed when it does again
}

// New starts a proxy before an address (host:port), which ends with the test.
func New(t testing.TB, to string) *Proxy {
	t.Helper()
	return NewOn(t, "127.0.0.1", to)
}

// NewOn is New on another address of this machine.
func NewOn(t testing.TB, host, to string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{to: to, listen: l, conns: map[net.Conn]bool{}}
	go p.run()
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		p.Release()
		p.Reset()
	})
	return p
}

// Addr is where it listens, as host:port.
func (p *Proxy) Addr() string { return p.listen.Addr().String() }

func (p *Proxy) run() {
	for {
		in, err := p.listen.Accept()
		if err != nil {
			return
		}
		go p.serve(in)
	}
}

func (p *Proxy) serve(in net.Conn) {
	p.pass()
	p.mu.Lock()
	to := p.to
	p.mu.Unlock()
	out, err := net.Dial("tcp", to)
	if err != nil {
		in.Close()
		return
	}
	p.mu.Lock()
	p.conns[in], p.conns[out] = true, true
	p.mu.Unlock()
	go p.copy(in, out)
	p.copy(out, in)
}

// copy forwards one direction. Both ends are closed when it ends: nobody here speaks on after half a close.
func (p *Proxy) copy(to, from net.Conn) {
	defer func() {
		to.Close()
		from.Close()
		p.mu.Lock()
		delete(p.conns, to)
		delete(p.conns, from)
		p.mu.Unlock()
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		p.pass()
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass waits while the proxy holds, and for its delay.
func (p *Proxy) pass() {
	p.mu.Lock()
	held, delay := p.held, p.delay
	p.mu.Unlock()
	if held != nil {
		<-held
	}
	if delay > 0 {
		<-time.After(delay)
	}
}

// Hold stops forwarding. Who connects meanwhile is let in and hears nothing.
func (p *Proxy) Hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held == nil {
		p.held = make(chan struct{})
	}
}

// Release undoes Hold.
func (p *Proxy) Release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held != nil {
		close(p.held)
		p.held = nil
	}
}

// Slow delays each piece from now on.
func (p *Proxy) Slow(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Reset closes all connections without a farewell.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		if tcp, ok := c.(*net.TCPConn); ok {
			if err := tcp.SetLinger(0); err != nil && !errors.Is(err, net.ErrClosed) {
				continue
			}
		}
		c.Close()
	}
}

// Turn forwards new connections to another address, and ends those to the former.
func (p *Proxy) Turn(to string) {
	p.mu.Lock()
	p.to = to
	p.mu.Unlock()
	p.Reset()
}
