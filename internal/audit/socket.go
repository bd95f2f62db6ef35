package audit

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

const (
	defaultWriteTimeout = 2 * time.Second
	redialPause         = 500 * time.Millisecond // least time between two attempts to connect
)

// socketOutput writes to a TCP or unix stream socket. Each write, connecting
// included, ends within timeout. A peer that has gone is connected to again;
// one that takes nothing costs the writer its timeout once, and then nothing
// until the next attempt is due.
type socketOutput struct {
	network string // tcp or unix
	address string
	timeout time.Duration
	now     func() time.Time

	mu     sync.Mutex
	conn   *peer
	failed error     // of the last attempt; nil: none has failed
	retry  time.Time // when to try again after it
}

// peer is one connection. What the other side sends is dropped; that it has
// hung up is noticed before the next write.
type peer struct {
	net.Conn
	gone chan struct{} // closed when the connection has ended
}

func (o *socketOutput) write(lines []byte) error {
	now := o.now()
	if err := o.resting(now); err != nil {
		return err
	}
	ctx, cancel := context.WithDeadline(context.Background(), now.Add(o.timeout))
	defer cancel()
	err := o.deliver(ctx, lines)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failed = err
	if err != nil {
		o.retry = o.now().Add(redialPause)
	}
	return err
}

// resting is the last failure while it is too early to try again.
func (o *socketOutput) resting(now time.Time) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.failed != nil && now.Before(o.retry) {
		return o.failed
	}
	return nil
}

// deliver writes lines, over a second connection from the first line that was
// not wholly written when the connection it had breaks.
func (o *socketOutput) deliver(ctx context.Context, lines []byte) error {
	for {
		c, fresh, err := o.connect(ctx)
		if err != nil {
			return err
		}
		n, err := c.send(ctx, lines)
		if err == nil {
			return nil
		}
		err = errors.Join(err, o.drop(c))
		if fresh || ctx.Err() != nil {
			return err
		}
		lines = lines[bytes.LastIndexByte(lines[:n], '\n')+1:]
	}
}

// connect is the connection there is, or a fresh one where the peer has ended
// it.
func (o *socketOutput) connect(ctx context.Context) (c *peer, fresh bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.conn != nil && !o.conn.ended() {
		return o.conn, false, nil
	}
	if err := o.release(); err != nil {
		return nil, false, err
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, o.network, o.address)
	if err != nil {
		return nil, false, err
	}
	o.conn = &peer{conn, make(chan struct{})}
	go o.conn.listen()
	return o.conn, true, nil
}

// listen drops what the peer sends until it hangs up.
func (p *peer) listen() {
	defer close(p.gone)
	buf := make([]byte, 512)
	for {
		if _, err := p.Read(buf); err != nil {
			return
		}
	}
}

func (p *peer) ended() bool {
	select {
	case <-p.gone:
		return true
	default:
		return false
	}
}

func (p *peer) send(ctx context.Context, lines []byte) (int, error) {
	deadline, _ := ctx.Deadline()
	if err := p.SetWriteDeadline(deadline); err != nil {
		return 0, err
	}
	return p.Write(lines)
}

// drop ends a connection that has failed.
func (o *socketOutput) drop(c *peer) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.conn == c {
		o.conn = nil
	}
	return c.Close()
}

func (o *socketOutput) reopen() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failed = nil
	return o.release()
}

// ready does not wait for the peer: each write connects if it must.
func (o *socketOutput) ready() error { return nil }

func (o *socketOutput) close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.release()
}

func (o *socketOutput) release() error {
	if o.conn == nil {
		return nil
	}
	c := o.conn
	o.conn = nil
	return c.Close()
}
