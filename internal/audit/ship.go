package audit

import (
	"errors"
	"log/slog"
	"time"
)

const (
	// resent is how much is sent again after a connection was cut, in bytes of
	// whole batches: what the buffers of both machines may have held.
	resent = 8 << 20
	// resentOrderly is the same after the peer has hung up: nothing was left
	// unread but what crossed its leave.
	resentOrderly = 64 << 10
)

// window is how much of a ring of a size is kept behind what was delivered, in bytes.
func window(size int64) int64 { return min(resent, size/4) }

// shipper delivers what is in a spool, batch by batch and in order.
type shipper struct {
	o      *spooled
	window uint64        // bytes that are kept behind what was delivered
	signal chan struct{} // there may be something to deliver
	stop   chan struct{} // closed: return when there is nothing more, or it cannot be delivered
	cut    chan struct{} // closed: return now
	done   chan struct{} // closed when run has returned

	// Of run alone, until done is closed.
	at      uint64   // what is delivered next
	sent    []uint64 // positions before it that are kept, oldest first
	failing bool
}

func newShipper(o *spooled) *shipper {
	return &shipper{
		o: o, window: uint64(window(int64(o.ring.size))), at: o.ring.tail,
		signal: make(chan struct{}, 1), stop: make(chan struct{}), cut: make(chan struct{}), done: make(chan struct{}),
	}
}

// wake says that there is something to deliver.
func (s *shipper) wake() {
	select {
	case s.signal <- struct{}{}:
	default:
	}
}

func (s *shipper) run() {
	defer close(s.done)
	for !closed(s.cut) {
		more, err := s.step()
		if err != nil {
			err = errors.Join(err, s.athome()) // what waits must be there after a restart
		}
		s.note(err)
		switch {
		case more:
		case closed(s.stop):
			return
		case err != nil:
			s.rest(redialPause)
		default:
			s.idle()
		}
	}
}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (s *shipper) idle() {
	select {
	case <-s.signal:
	case <-s.stop:
	}
}

func (s *shipper) rest(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.stop:
	}
}

// note logs when the peer begins to fail, and when it takes entries again.
func (s *shipper) note(err error) {
	if failing := err != nil; failing != s.failing {
		s.failing = failing
		if failing {
			s.o.log.Error("the audit device's peer does not take entries; they wait in the spool", slog.Any("error", err))
			return
		}
		s.o.log.Info("the audit device's peer takes entries again")
	}
}

// step delivers one batch. more: there was one.
func (s *shipper) step() (more bool, err error) {
	if s.at == s.head() {
		return false, nil
	}
	peer := s.o.peer
	if gone, orderly := peer.lost(); gone {
		if err := peer.redial(); err != nil {
			return false, err
		}
		s.back(orderly)
	}
	lines, next, err := s.get()
	if err != nil {
		return false, err
	}
	if err := peer.over(lines); err != nil {
		return false, err
	}
	s.sent = append(s.sent, s.at)
	s.at = next
	return true, s.release(s.o.ring.size / 8)
}

func (s *shipper) athome() error {
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	return s.o.athome()
}

func (s *shipper) get() (lines []byte, next uint64, err error) {
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	return s.o.ring.get(s.at)
}

func (s *shipper) head() uint64 {
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	return s.o.ring.head
}

// back goes back to what the last connection may not have brought to its end.
func (s *shipper) back(orderly bool) {
	if orderly {
		s.trim(resentOrderly)
	}
	if len(s.sent) > 0 {
		s.at = s.sent[0]
		s.sent = s.sent[:0]
	}
}

// trim lets go of positions that are further back than some bytes.
func (s *shipper) trim(keep uint64) {
	n := 0
	for n < len(s.sent) && s.at-s.sent[n] > keep {
		n++
	}
	if n > 0 {
		s.sent = append(s.sent[:0], s.sent[n:]...)
	}
}

// safe is the first position that may be wanted again.
func (s *shipper) safe() uint64 {
	if len(s.sent) > 0 {
		return s.sent[0]
	}
	return s.at
}

// release gives back the space of what is no longer wanted, once it is at least
// some bytes: each time costs a write to the disk.
func (s *shipper) release(least uint64) error {
	s.trim(s.window)
	s.o.mu.Lock()
	defer s.o.mu.Unlock()
	if s.safe()-s.o.ring.tail < max(least, 1) {
		return nil
	}
	return s.o.ring.release(s.safe())
}

// end delivers for a while what the peer takes, and says how many bytes it has
// not taken.
func (s *shipper) end(patience time.Duration) (rest uint64, err error) {
	t := time.AfterFunc(patience, s.abort)
	close(s.stop)
	<-s.done
	if t.Stop() && s.at == s.head() && s.o.peer.leave(patience) {
		s.sent = nil
	}
	err = errors.Join(s.release(0), s.o.peer.close())
	return s.head() - s.at, err
}

// abort ends a delivery that hangs.
func (s *shipper) abort() {
	close(s.cut)
	if err := s.o.peer.close(); err != nil {
		s.o.log.Warn("closing the connection of an audit device", slog.Any("error", err))
	}
}
