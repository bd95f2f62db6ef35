package vault

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/gate"
)

// Limits on a request's body, in bytes.
const (
	MaxBody          = 32 << 20 // with a token that may be used
	MaxAnonymousBody = 64 << 10 // without a good one
)

// A large body may take bodyTime, and a second more for each bodyRate bytes.
const (
	bodyTime = 10 * time.Second
	bodyRate = 1 << 20 // bytes per second
)

// turnBytes is the size from which bodies are worked on one after another: what
// is made of one takes several times its size for a moment.
const turnBytes = 8 << 20

// budget bounds the memory of all large bodies together, and of each client's,
// so that one who sends slowly keeps nobody else out. Small ones, of up to
// MaxAnonymousBody bytes, are not counted, nor as many bytes of one whose length
// nobody told: connections bound them.
type budget struct {
	most, each int64 // bytes: of all bodies, and of one client's

	mu   sync.Mutex
	all  int64
	peak int64            // the most that all had held since peak was last asked for
	held map[string]int64 // by client; who holds nothing is not in it
}

// share is the part of the budget that one request holds.
type share struct {
	of  *budget
	who string // the client; empty until it is known
	n   int64  // bytes

	turn chan struct{} // given back with the share; nil: it has no turn
}

// grow takes more bytes of the budget; it does not wait. Of the bounds that
// stand against it the client's own comes first: about that one it can do
// something.
func (s *share) grow(n int64) error {
	b := s.of
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.held[s.who]+n > b.each:
		return errGreedy()
	case b.all+n > b.most:
		return errBusy()
	}
	b.all, b.held[s.who], s.n = b.all+n, b.held[s.who]+n, s.n+n
	b.peak = max(b.peak, b.all)
	return nil
}

// takePeak is the most that was held since the last call.
func (b *budget) takePeak() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	peak := b.peak
	b.peak = b.all
	return peak
}

// await waits for the turn of a body that is so large that they are worked on one
// after another.
func (s *share) await(ctx context.Context, turn chan struct{}) error {
	if s.n <= turnBytes {
		return nil
	}
	select {
	case turn <- struct{}{}:
		s.turn = turn
		return nil
	case <-ctx.Done():
		return errBusy()
	}
}

func (s *share) release() {
	if s.turn != nil {
		<-s.turn
		s.turn = nil
	}
	if s.n == 0 {
		return
	}
	b := s.of
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all, b.held[s.who] = b.all-s.n, b.held[s.who]-s.n
	if b.held[s.who] == 0 {
		delete(b.held, s.who)
	}
	s.n = 0
}

// most is how large a body may be, and whose it is. A token is looked at only
// where that matters; a bad one is worth as much as none.
func (d *Door) most(r *http.Request, req *gate.Request) (limit int64, who string) {
	most := boundsOf(r.Context()).Body
	if most <= MaxAnonymousBody {
		return most, ""
	}
	if n := r.ContentLength; n >= 0 && n <= MaxAnonymousBody {
		return MaxAnonymousBody, ""
	}
	who, known := d.gate.Client(r.Context(), req.Token, req.Remote.Addr())
	if !known {
		return MaxAnonymousBody, ""
	}
	return most, who
}

// readBody reads the body into memory that the budget has.
func (d *Door) readBody(w http.ResponseWriter, r *http.Request, req *gate.Request, held *share) ([]byte, error) {
	limit, who := d.most(r, req)
	held.who = who
	if r.ContentLength > limit {
		return nil, unread(w, tooLarge(limit))
	}
	capacity := r.ContentLength
	if capacity < 0 {
		capacity = MaxAnonymousBody
	}
	if capacity > MaxAnonymousBody {
		if err := held.grow(capacity); err != nil {
			return nil, unread(w, err)
		}
	}
	d.hurry(w, capacity)
	body := http.MaxBytesReader(w, r.Body, limit)
	raw := make([]byte, capacity)
	n, err := io.ReadFull(body, raw)
	if r.ContentLength >= 0 {
		return raw, readError(err, limit)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return raw[:n], nil
	}
	if err != nil {
		return nil, readError(err, limit)
	}
	return d.readOn(w, body, raw, held, limit)
}

// readOn reads what follows of a body whose length nobody told, into twice the
// memory each time it is full, up to the first byte too many.
func (d *Door) readOn(w http.ResponseWriter, body io.Reader, raw []byte, held *share, limit int64) ([]byte, error) {
	for {
		full := len(raw)
		size := min(2*full, int(limit)+1)
		if limit > MaxAnonymousBody {
			if err := held.grow(int64(size - full)); err != nil {
				return nil, unread(w, err)
			}
		}
		d.hurry(w, int64(size))
		next := make([]byte, size)
		n, err := io.ReadFull(body, next[copy(next, raw):])
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return next[:full+n], nil
		case err != nil:
			return nil, readError(err, limit)
		}
		raw = next
	}
}

// hurry sets when a large body must have come; small ones have the server's own
// timeout. A connection that takes no deadline fails at the first byte.
func (d *Door) hurry(w http.ResponseWriter, n int64) {
	if n > MaxAnonymousBody {
		deadline(http.NewResponseController(w).SetReadDeadline, d.now().Add(bodyTime+time.Duration(n/bodyRate)*time.Second))
	}
}

// deadline sets a connection's deadline, and reports whether the connection is
// still there. A writer that has no connection has nothing to wait for.
func deadline(set func(time.Time) error, at time.Time) bool {
	err := set(at)
	return err == nil || errors.Is(err, http.ErrNotSupported)
}

// unread refuses a body that is not read, or not to its end: the connection is
// closed, so that nobody reads the rest.
func unread(w http.ResponseWriter, err error) error {
	w.Header()["Connection"] = []string{"close"}
	return err
}

func errBusy() *api.Error {
	return &api.Error{Kind: api.Unavailable, Message: "the server holds as many large request bodies as it may", Hint: "try again in a second"}
}

func errGreedy() *api.Error {
	return &api.Error{Kind: api.TooMany, Message: "your large request bodies hold as much of the server's memory as one client may",
		Hint: "wait until they have been answered, or send one after another"}
}

func tooLarge(limit int64) *api.Error {
	size := strconv.FormatInt(limit>>10, 10) + " KiB"
	if limit%(1<<10) != 0 {
		size = strconv.FormatInt(limit, 10) + " bytes"
	}
	return &api.Error{Kind: api.TooLarge, Message: "the request body is larger than " + size}
}

func readError(err error, limit int64) error {
	var over *http.MaxBytesError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &over):
		return tooLarge(limit)
	}
	return &api.Error{Kind: api.Invalid, Message: "the request body could not be read", Err: err}
}
