package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of addresses, and of the time to reach one of them.
const (
	maxAddresses = 8
	dialTimeout  = 30 * time.Second // where Config.Patience says nothing
	tellAfter    = time.Second      // without a connection
	tellSilent   = 5 * time.Second  // with one, and without an answer
)

// Waiting is what a request waits for.
type Waiting struct {
	Address   string // of the server that is asked now
	Connected bool   // it has the request, and has not answered
	Pause     bool   // nothing is under way: it is asked again in a moment
	Err       error  // what the attempt before ended in, an *Error when it was answered; may be nil
}

// addresses splits the text of several addresses.
func addresses(text string) ([]*url.URL, string, error) {
	parts := strings.Split(text, ",")
	if len(parts) > maxAddresses {
		return nil, "", fmt.Errorf("server address: more than %d addresses", maxAddresses)
	}
	var out []*url.URL
	for _, p := range parts {
		p = strings.TrimSpace(p)
		u, socket, err := parseAddress(p)
		if err != nil {
			return nil, "", err
		}
		if len(parts) > 1 && (p == "" || socket != "") {
			return nil, "", errors.New("server address: of several, each is http://host:port or https://host:port")
		}
		if len(parts) == 1 {
			return []*url.URL{u}, socket, nil
		}
		out = append(out, u)
	}
	return out, "", nil
}

// dialTime bounds the connecting to one of n addresses.
func dialTime(patience time.Duration, n int) time.Duration {
	if patience <= 0 {
		return dialTimeout
	}
	return patience / time.Duration(n)
}

// here is the address that is asked now. It is the one that answered last.
func (c *Client) here() *url.URL { return c.nodes[int(c.at.Load())%len(c.nodes)] }

// round sends a request to each address until one gives an answer that another would not
// better. over says that connecting took all the time it may.
func (c *Client) round(httpReq *http.Request, req Request, w *watch) (resp *Response, over bool, err error) {
	for tried := 1; ; tried++ {
		resp, err = c.once(w.traced(httpReq))
		over = over || timedOut(err)
		elsewhere := worthAgain(httpReq.Method, resp, err) && !limited(resp) || undelivered(err)
		if req.Once || len(c.nodes) == 1 || !elsewhere {
			return resp, over, err
		}
		c.at.Add(1)
		if err := c.redirect(httpReq, req); err != nil {
			return nil, over, err
		}
		if tried == len(c.nodes) {
			return resp, over, err
		}
		w.next(c.here(), ended(httpReq.Method, req.Path, resp, err))
	}
}

// redirect turns a request to the address that is asked now.
func (c *Client) redirect(httpReq *http.Request, req Request) error {
	text, err := c.url(req)
	if err != nil {
		return err
	}
	u, err := url.Parse(text)
	if err == nil {
		httpReq.URL, httpReq.Host = u, u.Host
	}
	return err
}

// undelivered reports whether an attempt ended before there was a connection: nothing was sent.
func undelivered(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial" || noHandshake(err)
}

// noHandshake reports whether a server took a connection and did not begin to speak TLS, as a
// process that is paused. net/http has no type for it.
func noHandshake(err error) bool {
	return err != nil && strings.HasSuffix(err.Error(), "net/http: TLS handshake timeout")
}

func timedOut(err error) bool {
	var op *net.OpError
	return noHandshake(err) || undelivered(err) && errors.As(err, &op) && op.Timeout()
}

// limited reports whether the answer is that there are too many requests, which holds for all
// addresses.
func limited(resp *Response) bool {
	return resp != nil && resp.Status == http.StatusTooManyRequests
}

// watch tells once, when a request takes long, what it waits for.
type watch struct {
	mu        sync.Mutex
	tell      func(Waiting)
	now       Waiting
	late      bool // it waits for longer than is said at once
	told      bool
	early     *time.Timer
	connected *time.Timer
}

// watching begins to watch a request, until stopped.
func (c *Client) watching() *watch {
	w := &watch{tell: c.cfg.Waiting, now: Waiting{Address: hostOf(c.here())}}
	if w.tell == nil {
		return w
	}
	w.early = time.AfterFunc(tellAfter, func() { w.passed(false) })
	w.connected = time.AfterFunc(tellSilent, func() { w.passed(true) })
	return w
}

// passed tells what is waited for, unless that is known or an answer is being made.
func (w *watch) passed(silent bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.late = true
	if silent || !w.now.Connected {
		w.say()
	}
}

func (w *watch) say() {
	if w.tell != nil && !w.told {
		w.told = true
		w.tell(w.now)
	}
}

// next notes that another attempt follows, and at which address.
func (w *watch) next(u *url.URL, err error) {
	w.set(Waiting{Address: hostOf(u), Err: err})
}

// pause notes that another attempt follows in a moment, and at which address.
func (w *watch) pause(u *url.URL, err error) {
	w.set(Waiting{Address: hostOf(u), Err: err, Pause: true})
}

func (w *watch) set(now Waiting) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = now
	if w.late {
		w.say()
	}
}

// traced has the request, which begins now, note when it is connected.
func (w *watch) traced(r *http.Request) *http.Request {
	if w.tell == nil {
		return r
	}
	w.mu.Lock()
	w.now.Pause = false
	w.mu.Unlock()
	return r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.now.Connected = true
	}}))
}

// stop ends it: nothing is told afterwards.
func (w *watch) stop() {
	if w.tell == nil {
		return
	}
	w.early.Stop()
	w.connected.Stop()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told = true
}

// lasting tells whether the patience lasts still; end is to be called when it matters no more.
func (c *Client) lasting() (lasts func() bool, end func()) {
	if c.cfg.Patience <= 0 {
		return func() bool { return true }, func() {}
	}
	var over atomic.Bool
	t := time.AfterFunc(c.cfg.Patience, func() { over.Store(true) })
	return func() bool { return !over.Load() }, func() { t.Stop() }
}

// rest waits before the next attempt, and reports whether there is one: a pause that is longer
// than what patience is left is not begun.
func (c *Client) rest(ctx context.Context, d time.Duration, waited *time.Duration) (bool, error) {
	if c.cfg.Patience > 0 && *waited+d > c.cfg.Patience {
		return false, nil
	}
	*waited += d
	return true, c.sleep(ctx, d)
}
