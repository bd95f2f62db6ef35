package vault

import (
	"io"
	"net/http"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

// What a client must keep to who uploads something of any size. Only the time that is
// spent waiting for it counts, not what the server does with a piece.
const (
	uploadIdle  = 30 * time.Second // between two pieces
	uploadGrace = time.Minute      // more than uploadRate allows, in all
	uploadRate  = 64 << 10         // bytes per second
)

// upload is the body of a request that is read while it is worked on. The connection
// ends with the answer: the body may not have been read to its end.
func (d *Door) upload(w http.ResponseWriter, r *http.Request) io.Reader {
	w.Header()["Connection"] = []string{"close"}
	u := &upload{body: r.Body, conn: http.NewResponseController(w), now: d.now}
	deadline(u.conn.SetWriteDeadline, time.Time{}) // the answer has its own when it comes
	return u
}

type upload struct {
	body   io.Reader
	conn   *http.ResponseController
	now    func() time.Time
	n      int64
	waited time.Duration
}

// Read reads a piece, or fails when the client takes too long.
func (u *upload) Read(p []byte) (int, error) {
	from := u.now()
	if u.waited > uploadGrace+time.Duration(u.n/uploadRate)*time.Second {
		return 0, &api.Error{Kind: api.Invalid, Message: "the request body comes too slowly", Hint: "send at least 64 KiB a second"}
	}
	deadline(u.conn.SetReadDeadline, from.Add(uploadIdle))
	n, err := u.body.Read(p)
	u.n += int64(n)
	u.waited += u.now().Sub(from)
	return n, err
}
