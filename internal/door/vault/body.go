package vault

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
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

// budget bounds the memory of all large bodies together. Small ones, of up to
// MaxAnonymousBody bytes, are not counted: connections bound them.
type budget struct {
	most int64 // bytes
	held atomic.Int64
}

// share is the part of the budget that one request holds.
type share struct {
	of *budget
	n  int64 // bytes
}

// grow takes more bytes of the budget; it does not wait. It reports whether
// there were that many.
func (s *share) grow(n int64) bool {
	if s.of.held.Add(n) > s.of.most {
		s.of.held.Add(-n)
		return false
	}
	s.n += n
	return true
}

func (s *share) release() {
	s.of.held.Add(-s.n)
	s.n = 0
}

// most is how large a body may be. A token is looked at only where that
// matters; a bad one is worth as much as none.
func (d *Door) most(r *http.Request, req *gate.Request) int64 {
	n := r.ContentLength
	if n >= 0 && n <= MaxAnonymousBody || !d.gate.Knows(r.Context(), req.Token, req.Remote.Addr()) {
		return MaxAnonymousBody
	}
	return MaxBody
}

// readBody reads the body into memory that the budget has. Where it stops early
// the connection is closed, so that nobody reads the rest.
func (d *Door) readBody(w http.ResponseWriter, r *http.Request, req *gate.Request, held *share) ([]byte, error) {
	limit := d.most(r, req)
	if r.ContentLength > limit {
		w.Header()["Connection"] = []string{"close"}
		return nil, tooLarge(limit)
	}
	capacity := r.ContentLength
	if capacity < 0 {
		capacity = MaxAnonymousBody
	}
	if capacity > MaxAnonymousBody && !held.grow(capacity) {
		return nil, busy(w)
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
		if limit > MaxAnonymousBody && !held.grow(int64(size-full)) {
			return nil, busy(w)
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

// busy refuses a body before it is read, for want of memory.
func busy(w http.ResponseWriter) error {
	w.Header()["Connection"] = []string{"close"}
	return &api.Error{Kind: api.Unavailable, Message: "the server holds as many large request bodies as it may", Hint: "try again in a second"}
}

func tooLarge(limit int64) *api.Error {
	return &api.Error{Kind: api.TooLarge, Message: "the request body is larger than " + strconv.FormatInt(limit>>10, 10) + " KiB"}
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
