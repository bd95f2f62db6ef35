package audit

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

const (
	defaultWriteTimeout = 2 * time.Second
	redialPause         = 500 * time.Millisecond // least time between two attempts to connect
)

// dialer makes a connection to a peer.
type dialer func(context.Context) (net.Conn, error)

// socketOutput writes to a peer. Each write, connecting included, ends within
// timeout. A peer that has gone is connected to again; one that takes nothing
// costs the writer its timeout once, and then nothing until the next attempt is
// due.
type socketOutput struct {
	dial    dialer
	timeout time.Duration
	now     func() time.Time
	frame   func(to *frames, lines []byte, now time.Time) // nil: lines go as they are
	frames  frames                                        // of the write in progress

	mu     sync.Mutex
	conn   *peer
	failed error     // of the last attempt; nil: none has failed
	retry  time.Time // when to try again after it
}

// frames are entries in the form that a peer reads.
type frames struct {
	bytes     []byte
	ends      []int // where each frame ends; nil: after each line feed
	datagrams bool  // each frame is a packet of its own
	sent      int   // bytes that need not be sent again
}

// delivered notes that n more bytes were written, of which the whole frames need
// not be sent again.
func (f *frames) delivered(n int) {
	whole := 0
	if f.ends == nil {
		whole = bytes.LastIndexByte(f.bytes[f.sent:f.sent+n], '\n') + 1
	}
	for _, end := range f.ends {
		if end > f.sent && end <= f.sent+n {
			whole = end - f.sent
		}
	}
	f.sent += whole
}

// peer is one connection. What the other side sends is dropped; that it has
// hung up is noticed before the next write.
type peer struct {
	net.Conn
	gone    chan struct{} // closed when the connection has ended
	orderly bool          // it has ended by the peer's leave, who had read all there was; to be read once gone is closed
}

func (o *socketOutput) write(lines []byte) error {
	now := o.now()
	if err := o.resting(now); err != nil {
		return err
	}
	ctx, cancel := context.WithDeadline(context.Background(), now.Add(o.timeout))
	defer cancel()
	err := o.deliver(ctx, o.framed(lines, now))
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failed = err
	if err != nil {
		o.retry = o.now().Add(redialPause)
	}
	return err
}

// framed are lines as the peer reads them.
func (o *socketOutput) framed(lines []byte, now time.Time) *frames {
	f := &o.frames
	f.sent = 0
	if o.frame == nil {
		f.bytes = lines
		return f
	}
	if cap(f.bytes) > maxSpare {
		f.bytes = nil
	}
	f.bytes, f.ends = f.bytes[:0], f.ends[:0]
	o.frame(f, lines, now)
	return f
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

// deliver writes frames, over a second connection from the first frame that was
// not wholly written when the connection it had breaks.
func (o *socketOutput) deliver(ctx context.Context, f *frames) error {
	for {
		c, fresh, err := o.connect(ctx)
		if err != nil {
			return err
		}
		n, err := c.send(ctx, f)
		if err == nil {
			return nil
		}
		err = errors.Join(err, o.drop(c))
		if fresh || ctx.Err() != nil {
			return err
		}
		f.delivered(n)
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
	conn, err := o.dial(ctx)
	if err != nil {
		return nil, false, err
	}
	o.conn = &peer{Conn: conn, gone: make(chan struct{})}
	go o.conn.listen()
	return o.conn, true, nil
}

// listen drops what the peer sends until it hangs up.
func (p *peer) listen() {
	defer close(p.gone)
	buf := make([]byte, 512)
	for {
		if _, err := p.Read(buf); err != nil {
			p.orderly = errors.Is(err, io.EOF)
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

// send writes the frames that were not sent yet, and says how many bytes went.
func (p *peer) send(ctx context.Context, f *frames) (int, error) {
	deadline, _ := ctx.Deadline()
	if err := p.SetWriteDeadline(deadline); err != nil {
		return 0, err
	}
	if !f.datagrams {
		return p.Write(f.bytes[f.sent:])
	}
	total := 0
	for _, end := range f.ends {
		if end <= f.sent {
			continue
		}
		n, err := p.Write(f.bytes[f.sent+total : end])
		if err != nil {
			return total, err
		}
		total += n
	}
	return total, nil
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

// lost reports whether there is no connection that lasts, and whether the last
// one has ended by the peer's leave.
func (o *socketOutput) lost() (gone, orderly bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	gone = o.conn == nil || o.conn.ended()
	return gone, gone && o.conn != nil && o.conn.orderly
}

// redial makes a fresh connection where there is none that lasts.
func (o *socketOutput) redial() error {
	ctx, cancel := context.WithTimeout(context.Background(), o.timeout)
	defer cancel()
	_, _, err := o.connect(ctx)
	return err
}

// over writes lines over the connection there is, and ends it should that fail.
func (o *socketOutput) over(lines []byte) error {
	o.mu.Lock()
	c := o.conn
	o.mu.Unlock()
	if c == nil {
		return net.ErrClosed
	}
	now := o.now()
	ctx, cancel := context.WithDeadline(context.Background(), now.Add(o.timeout))
	defer cancel()
	if _, err := c.send(ctx, o.framed(lines, now)); err != nil {
		return errors.Join(err, o.drop(c))
	}
	return nil
}

// leave tells the peer that no more comes, and waits for it to hang up. It
// reports whether it has read everything.
func (o *socketOutput) leave(patience time.Duration) bool {
	o.mu.Lock()
	c := o.conn
	o.mu.Unlock()
	if c == nil {
		return false
	}
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return false
	}
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-c.gone:
		return c.orderly
	case <-t.C:
		return false
	}
}
