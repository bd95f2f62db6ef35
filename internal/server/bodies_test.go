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
	return d.sendFrom("192.0.2.1:1234", body, length, token)
}

// sendFrom is send from an address.
func (d *dev) sendFrom(from string, body io.Reader, length int64, token string) *wire {
	r := large(body, length, token)
	r.RemoteAddr = from
	w := &wire{ResponseRecorder: httptest.NewRecorder()}
	d.h.ServeHTTP(w, r)
	return w
}

func large(body io.Reader, length int64, token string) *http.Request {
	r := httptest.NewRequest("POST", "/v1/secret/data/big", body)
	r.ContentLength = length
	r.Header.Set("X-Vault-Token", token)
	return r
}

// tokens makes tokens of a kind that may do nothing.
func (d *dev) tokens(n int, kind string) []string {
	d.t.Helper()
	var out []string
	for range n {
		a := d.want(200, d.ask("POST", "auth/token/create", `{"policies":["default"],"type":"`+kind+`"}`, "root"))
		out = append(out, a.Auth["client_token"].(string))
	}
	return out
}

// hold has a body be under way from each sender until letGo is called, which
// fails the test unless all of them were being read.
func (d *dev) hold(each int64, from string, tokens ...string) (letGo func()) {
	d.t.Helper()
	h := &held{make(chan struct{}), make(chan struct{})}
	ended := make(chan int, len(tokens))
	for _, token := range tokens {
		go func() { ended <- d.sendFrom(from, h, each, token).Code }()
		select {
		case <-h.asked:
		case code := <-ended:
			d.t.Fatalf("a body of %d bytes was not read: %d", each, code)
		}
	}
	return func() {
		close(h.letGo)
		for range tokens {
			if code := <-ended; code != http.StatusBadRequest {
				d.t.Errorf("a body that broke off: %d", code)
			}
		}
	}
}

// refused fails unless a body was refused before it was read, with a remedy.
func (d *dev) refused(w *wire, status int, remedy string) {
	d.t.Helper()
	if w.Code != status || w.Header().Get("Retry-After") == "" || w.Header().Get("Connection") != "close" || !strings.Contains(w.Body.String(), remedy) {
		d.t.Errorf("one too many: %d, want %d; %v %s", w.Code, status, w.Header(), w.Body)
	}
}

// text is a body of n bytes whose length is not told.
func text(n int) io.Reader {
	const before, after = `{"data":{"a":"`, `"}}`
	return strings.NewReader(before + strings.Repeat("x", n-len(before)-len(after)) + after)
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

// TestLargeBodiesHaveABudget holds large bodies of many clients open until no
// more is taken; small ones are, and large ones again once the others are gone.
// A second round finds all of the budget again.
func TestLargeBodiesHaveABudget(t *testing.T) {
	d := newDev(t)
	const each = 32 << 20
	clients := d.tokens(2, "service")
	for range 2 {
		letGo := d.hold(each, "192.0.2.1:1", clients...)
		d.refused(d.send(unread{t}, each, "root"), 503, "try again in a second")
		d.refused(d.send(text(100<<10), -1, "root"), 503, "try again in a second")
		d.want(200, d.ask("POST", "secret/data/small", `{"data":{"a":"b"}}`, "root"))
		letGo()
		if w := d.send(text(100<<10), -1, "root"); w.Code != 200 {
			t.Errorf("afterwards: %d: %s", w.Code, w.Body)
		}
	}
}

// TestOneClientLeavesRoomForOthers has one token send slowly: it keeps itself
// out, wherever it sends from, and nobody else.
func TestOneClientLeavesRoomForOthers(t *testing.T) {
	d := newDev(t)
	const share, remedy = 32 << 20, "one after another"
	other := d.tokens(1, "service")[0]
	for range 2 {
		letGo := d.hold(share/2, "192.0.2.1:1", "root", "root")
		d.refused(d.send(unread{t}, 1<<20, "root"), 429, remedy)
		d.refused(d.sendFrom("192.0.2.2:1", unread{t}, 1<<20, "root"), 429, remedy)
		d.refused(d.send(text(100<<10), -1, "root"), 429, remedy)
		d.want(200, d.ask("POST", "secret/data/small", `{"data":{"a":"b"}}`, "root"))
		d.hold(share, "192.0.2.1:1", other)()
		letGo()
		letGo = d.hold(share/2, "192.0.2.1:1", "root")
		d.refused(d.send(text(share/2+1), -1, "root"), 429, remedy) // when half of it has come
		letGo()
	}
	if w := d.send(strings.NewReader(strings.Repeat(" ", share)), -1, "root"); w.Code != http.StatusBadRequest {
		t.Errorf("the largest body of unknown length: %d: %s", w.Code, w.Body)
	}
	if w := d.send(strings.NewReader(strings.Repeat(" ", share+1)), -1, "root"); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("a body of unknown length that is too large: %d: %s", w.Code, w.Body)
	}
}

// TestBatchTokensShareByAddress holds those who bring a token without an accessor
// to what one address may have.
func TestBatchTokensShareByAddress(t *testing.T) {
	d := newDev(t)
	const share = 32 << 20
	batch := d.tokens(2, "batch")
	for _, c := range []struct{ from, near, far string }{{"192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1"}, {"[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8:0:1::1]:1"}} {
		letGo := d.hold(share, c.from, batch[0])
		d.refused(d.sendFrom(c.near, unread{t}, 1<<20, batch[1]), 429, "one after another")
		d.hold(share, c.far, batch[1])()
		d.hold(share, c.near, "root")()
		letGo()
	}
}

// slowReader is a client that takes no answer until it is let go.
type slowReader struct {
	*wire
	offered, letGo chan struct{}
}

// Write waits.
func (s *slowReader) Write(p []byte) (int, error) {
	s.offered <- struct{}{}
	<-s.letGo
	return s.wire.Write(p)
}

// TestSlowReaderHoldsNoBody has a client take its time over an answer: its body
// counts no longer.
func TestSlowReaderHoldsNoBody(t *testing.T) {
	d := newDev(t)
	s := &slowReader{&wire{ResponseRecorder: httptest.NewRecorder()}, make(chan struct{}), make(chan struct{})}
	done := make(chan struct{})
	go func() {
		d.h.ServeHTTP(s, large(text(1<<20), 1<<20, "root"))
		close(done)
	}()
	<-s.offered
	d.hold(32<<20, "192.0.2.1:1", "root")()
	close(s.letGo)
	<-done
	if s.Code != 200 {
		t.Errorf("the slow reader: %d", s.Code)
	}
}

// TestWrappingTokenBringsNoLargeBody holds the bearer of a wrapping token to the
// size that the anonymous have.
func TestWrappingTokenBringsNoLargeBody(t *testing.T) {
	d := newDev(t)
	if w := d.send(unread{t}, 1<<20, d.wrapped().Wrap.Token); w.Code != http.StatusRequestEntityTooLarge || w.Header().Get("Connection") != "close" {
		t.Errorf("a wrapping token's body: %d, %v", w.Code, w.Header())
	}
	if w := d.send(strings.NewReader(strings.Repeat(" ", 65<<10)), -1, "bogus"); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("a body of unknown length: %d", w.Code)
	}
}

// TestConnectionsHaveDeadlines holds large bodies and all answers to a time in
// which they must be through, and which grows with their size.
func TestConnectionsHaveDeadlines(t *testing.T) {
	d := newDev(t)
	for _, c := range []struct {
		name         string
		size, length int64
		read         []time.Duration
	}{
		{"small", 100, 100, nil},
		{"large", 100 << 10, 100 << 10, []time.Duration{10 * time.Second}},
		{"larger", 5 << 20, 5 << 20, []time.Duration{15 * time.Second}},
		{"unknown", 100 << 10, -1, []time.Duration{10 * time.Second}},
		{"unknown, larger", 3 << 20, -1, []time.Duration{10 * time.Second, 10 * time.Second, 10 * time.Second, 11 * time.Second, 12 * time.Second, 14 * time.Second}},
	} {
		from := time.Now()
		w := d.send(text(int(c.size)), c.length, "root")
		if w.Code != 200 || !after(from, w.read, c.read...) || !after(from, w.write, 30*time.Second) {
			t.Errorf("%s, at %v: %d, read until %v, written until %v", c.name, from, w.Code, w.read, w.write)
		}
	}
	from, w := time.Now(), &wire{ResponseRecorder: httptest.NewRecorder()}
	r := httptest.NewRequest("GET", "/v1/secret/data/big", nil)
	r.Header.Set("X-Vault-Token", "root")
	d.h.ServeHTTP(w, r)
	if w.Code != 200 || w.read != nil || !after(from, w.write, 30*time.Second+3*4*time.Second) {
		t.Errorf("a large answer, at %v: %d, written until %v", from, w.Code, w.write)
	}
}

// after reports whether the moments are those that lie so long after now, which
// was not before from.
func after(from time.Time, moments []time.Time, want ...time.Duration) bool {
	late := time.Since(from)
	return slices.EqualFunc(moments, want, func(at time.Time, d time.Duration) bool {
		got := at.Sub(from)
		return got >= d && got <= d+late
	})
}
