package audit

import (
	"bytes"
	"errors"
	"log/slog"
	"sync"
	"time"
)

// spooled is a peer behind a ring on this machine's disk. An entry counts as
// written once it is in the ring; from there entries go to the peer in order, as
// fast as it takes them, and wait while it is away or the server is down.
//
// What a peer has received it may not have read when it dies, and no syslog
// protocol says so. So the last entries that were delivered are kept, and come
// again over the next connection: each entry arrives at least once.
type spooled struct {
	dir, name string
	size      int64
	peer      *socketOutput
	log       *slog.Logger

	mu       sync.Mutex
	ring     *ring // nil: to be opened by the next write
	shipper  *shipper
	draining time.Duration // how long close waits for a peer that takes entries
}

// drainPause is how long a device that is closed goes on delivering.
const drainPause = time.Second

// spool is the spool that a declaration asks for; nil: none.
func (o *options) spool(peer *socketOutput) (output, error) {
	if o.given["spool_path"] == "" {
		if o.given["spool_size"] != "" {
			return nil, invalid("spool_size", "means nothing without a spool", "give spool_path")
		}
		return nil, nil
	}
	dir, name, err := o.filePath("spool_path")
	if err != nil {
		return nil, err
	}
	size, err := o.size("spool_size", leastSpool, mostSpool)
	if err != nil {
		return nil, err
	}
	if size == 0 {
		size = defaultSpool
	}
	if !peer.frames.datagrams { // a packet must fit whole, and does not wait for the peer
		peer.dial = buffering(peer.dial, int(window(size)/16))
	}
	return &spooled{dir: dir, name: name, size: size, peer: peer, log: o.log, draining: drainPause}, nil
}

func (o *spooled) write(lines []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.open(); err != nil {
		return err
	}
	defer o.shipper.wake()
	for len(lines) > 0 {
		n := wholeLines(lines, int(o.ring.size/8))
		if err := o.ring.put(lines[:n]); err != nil {
			return err
		}
		lines = lines[n:]
	}
	return o.athome()
}

// wholeLines is how many bytes of lines make at most room bytes of whole lines,
// or one line.
func wholeLines(lines []byte, room int) int {
	if len(lines) <= room {
		return len(lines)
	}
	if n := bytes.LastIndexByte(lines[:room], '\n') + 1; n > 0 {
		return n
	}
	return bytes.IndexByte(lines, '\n') + 1
}

// open opens the ring unless it is open, and begins to deliver what it holds.
func (o *spooled) open() error {
	if o.ring != nil {
		return nil
	}
	r, err := openRing(o.dir, o.name, o.size)
	if err != nil {
		return err
	}
	if r.size != uint64(o.size) {
		o.log.Warn("the spool keeps its old size until it is empty", slog.Uint64("bytes", r.size))
	}
	if n := r.held(r.tail); n > 0 {
		o.log.Info("entries in the spool are delivered", slog.Uint64("bytes", n))
	}
	o.ring = r
	o.shipper = newShipper(o)
	go o.shipper.run()
	o.shipper.wake()
	return nil
}

func (o *spooled) ready() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.open()
}

func (o *spooled) reopen() error { return o.peer.reopen() }

// close delivers what a peer takes within a moment, and keeps the rest.
func (o *spooled) close() error {
	o.mu.Lock()
	s := o.shipper
	o.mu.Unlock()
	if s == nil {
		return o.peer.close()
	}
	rest, err := s.end(o.draining)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ring == nil {
		return err
	}
	if rest > 0 {
		o.log.Warn("entries stay in the spool until the device is used again", slog.Uint64("bytes", rest))
	}
	err = errors.Join(err, o.ring.file.Close())
	o.ring, o.shipper = nil, nil
	return err
}
