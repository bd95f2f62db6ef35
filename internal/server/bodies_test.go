package server_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// wire is a ResponseWriter that keeps the deadlines that were set on it.
type wire struct {
	*httptest.ResponseRecorder
	read, write []time.Time
}

// SetReadDeadline keeps a deadline.
func (w *wire) SetReadDeadline(t time.Time) error { w.read = append(w.read, t); return nil }

// SetWriteDeadline keeps a deadline.
func (w *wire) SetWriteDeadline(t time.Time) error { w.write = append(w.write, t); return nil }

func (d *dev) send(body io.Reader, length int64, token string) *wire {
	r := httptest.NewRequest("POST", "/v1/secret/data/big", body)
	r.ContentLength = length
	r.Header.Set("X-Vault-Token", token)
	w := &wire{ResponseRecorder: httptest.NewRecorder()}
	d.h.ServeHTTP(w, r)
	return w
}

// held is a body of which nothing comes until it is let go.
type held struct {
	asked, letGo chan struct{}
}

// Read tells that it was called, and waits.
func (h *held) Read([]byte) (int, error) {
	h.asked <- struct{}{}
	<-h.letGo
	return 0, io.ErrClosedPipe
}

// unread fails a test when a body is read that should not be.
type unread struct{ t *testing.T }

// Read fails the test.
func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, io.ErrClosedPipe
}

// TestLargeBodiesHaveABudget holds large bodies open until no more is taken;
// small ones are, and large ones again once the others are gone.
func TestLargeBodiesHaveABudget(t *testing.T) {
	d := newDev(t)
	const each, most = 32 << 20, 4
	h := &held{make(chan struct{}), make(chan struct{})}
	ended := make(chan int, most)
	for range most {
		go func() { ended <- d.send(h, each, "root").Code }()
		<-h.asked
	}
	w := d.send(unread{t}, each, "root")
	if w.Code != 503 || w.Header().Get("Retry-After") == "" || w.Header().Get("Connection") != "close" {
		t.Errorf("one too many: %d, %v", w.Code, w.Header())
	}
	chunked := strings.NewReader(`{"data":{"a":"` + strings.Repeat("x", 100<<10) + `"}}`)
	if w := d.send(chunked, -1, "root"); w.Code != 503 {
		t.Errorf("one too many of unknown length: %d", w.Code)
	}
	d.want(200, d.ask("POST", "secret/data/small", `{"data":{"a":"b"}}`, "root"))
	close(h.letGo)
	for range most {
		if code := <-ended; code != http.StatusBadRequest {
			t.Errorf("a body that broke off: %d", code)
		}
	}
	if _, err := chunked.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if w := d.send(chunked, -1, "root"); w.Code != 200 {
		t.Errorf("afterwards: %d: %s", w.Code, w.Body)
	}
}

// TestWrappingTokenBringsNoLargeBody holds the bearer of a wrapping token to the
// size that the anonymous have.
func TestWrappingTokenBringsNoLargeBody(t *testing.T) {
	d := newDev(t)
	if w := d.send(unread{t}, 1<<20, d.wrapped().Wrap.Token); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("a wrapping token's body: %d", w.Code)
	}
	if w := d.send(strings.NewReader(strings.Repeat(" ", 65<<10)), -1, "bogus"); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("a body of unknown length: %d", w.Code)
	}
}

// TestConnectionsHaveDeadlines holds large bodies and all answers to a time in
// which they must be through.
func TestConnectionsHaveDeadlines(t *testing.T) {
	d := newDev(t)
	large := `{"data":{"a":"` + strings.Repeat("x", 100<<10) + `"}}`
	for _, c := range []struct {
		name, body string
		length     int64
		read       bool
	}{{"small", `{"data":{}}`, 11, false}, {"large", large, int64(len(large)), true}, {"unknown", large, -1, true}} {
		from := time.Now()
		w := d.send(strings.NewReader(c.body), c.length, "root")
		within := func(at []time.Time, most time.Duration) bool {
			return len(at) > 0 && !slices.ContainsFunc(at, func(t time.Time) bool { return t.Before(from) || t.After(from.Add(most)) })
		}
		if w.Code != 200 || !within(w.write, time.Minute) || within(w.read, 30*time.Second) != c.read {
			t.Errorf("%s: %d, read until %v, written until %v", c.name, w.Code, w.read, w.write)
		}
	}
}
