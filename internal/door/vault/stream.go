package vault

import (
	"context"
	"io"
	"net/http"
	"time"
)

// stream sends an answer while it is made. Its status is out: should making it
// fail, the connection is broken off, so that the client does not take what it
// has for the whole.
func (d *Door) stream(w http.ResponseWriter, r *http.Request, made func(context.Context, io.Writer) error) {
	out := &paced{w: w, conn: http.NewResponseController(w), now: d.now}
	// A stream may last longer than a request may take to be read, and pause for
	// longer than an answer may take to be written: only its writes are timed.
	if !deadline(out.conn.SetReadDeadline, time.Time{}) || !deadline(out.conn.SetWriteDeadline, time.Time{}) {
		return
	}
	if err := out.conn.Flush(); err != nil {
		return
	}
	if err := made(r.Context(), out); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// paced hands each write to the client at once, and gives the client writeTime
// to take it.
type paced struct {
	w    http.ResponseWriter
	conn *http.ResponseController
	now  func() time.Time
}

// Write sends p.
func (s *paced) Write(p []byte) (int, error) {
	if err := s.conn.SetWriteDeadline(s.now().Add(writeTime)); err != nil {
		return 0, err
	}
	n, err := s.w.Write(p)
	if err == nil {
		err = s.conn.Flush()
	}
	if err != nil {
		return n, err
	}
	return n, s.conn.SetWriteDeadline(time.Time{})
}
