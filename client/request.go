package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Waits between attempts.
const (
	firstWait = 250 * time.Millisecond // doubled at each attempt
	maxWait   = 10 * time.Second       // also the most that a Retry-After is honoured for
)

// Request is one call of the API.
type Request struct {
	Method string     // GET when empty
	Path   string     // below /v1/, unescaped, such as "secret/data/db"
	Query  url.Values // may be nil
	Body   any        // marshalled as JSON; nil sends none
	Header http.Header
	// Once turns retries off, for answers whose 4xx or 5xx status is the news.
	Once bool
}

// Response is an answer read in full.
type Response struct {
	Status int
	Header http.Header
	Body   []byte
}

// Do sends req and reads the answer, retrying as the package comment says. Any
// status from 400 up is returned as an *Error beside the Response. A failure to
// reach the server is a *TransportError.
func (c *Client) Do(ctx context.Context, req Request) (*Response, error) {
	httpReq, err := c.NewRequest(ctx, req)
	if err != nil {
		return nil, err
	}
	fail := func(err error) (*Response, error) {
		return nil, &TransportError{Method: httpReq.Method, Address: c.address, Path: req.Path, Err: err}
	}
	w := c.watching()
	defer w.stop()
	lasts, end := c.lasting()
	defer end()
	var waited time.Duration
	for attempt := 0; ; attempt++ {
		if err := c.pace.wait(ctx, c); err != nil {
			return fail(err)
		}
		resp, over, err := c.round(httpReq, req, w)
		again := attempt < c.cfg.MaxRetries && !req.Once && !over && worthAgain(httpReq.Method, resp, err) && !stays(resp) && lasts()
		if again {
			var interrupted error
			w.pause(c.here(), ended(httpReq.Method, req.Path, resp, err))
			if again, interrupted = c.rest(ctx, pause(attempt, resp.header()), &waited); interrupted != nil {
				return fail(interrupted)
			}
		}
		switch {
		case again:
			continue
		case err != nil:
			return fail(err)
		}
		err = resp.asError(httpReq.Method, req.Path)
		if err == nil {
			c.warned(resp.Body)
		}
		return resp, err
	}
}

// warned passes on what an answer warns of.
func (c *Client) warned(body []byte) {
	if c.cfg.Warned == nil || !bytes.Contains(body, []byte(`"warnings":[`)) {
		return
	}
	var answer struct {
		Warnings []string `json:"warnings"`
	}
	if err := json.Unmarshal(body, &answer); err == nil && len(answer.Warnings) > 0 {
		c.cfg.Warned(answer.Warnings)
	}
}

// header is the answer's, or none where no answer came.
func (r *Response) header() http.Header {
	if r == nil {
		return nil
	}
	return r.Header
}

// worthAgain tells whether an attempt may be repeated: a read after any failure
// that may pass, another request only where it was certainly not carried out.
func worthAgain(method string, resp *Response, err error) bool {
	reads := method == http.MethodGet || method == http.MethodHead
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return true
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return reads
	case err != nil:
		return false
	}
	return resp.Status == http.StatusTooManyRequests || reads && retryable(resp.Status)
}

// stays reports whether an answer says that the server is not able, why, and not when it
// would be: that is for somebody to mend. Another address may still do it. So it is with as
// many leases as there may be, which answers as a rate does that a moment's wait is enough for.
func stays(resp *Response) bool {
	if resp == nil || resp.Status != http.StatusServiceUnavailable && !limited(resp) || resp.Header.Get("Retry-After") != "" {
		return false
	}
	var body struct {
		Errors []any `json:"errors"`
	}
	if json.Unmarshal(resp.Body, &body) != nil || len(body.Errors) == 0 {
		return false
	}
	return !limited(resp) || strings.Contains(fmt.Sprint(body.Errors[0]), "lease count quota exceeded")
}

// ended is what an attempt ended in, be it an answer; nil when it succeeded.
func ended(method, path string, resp *Response, err error) error {
	if err != nil || resp == nil {
		return err
	}
	return resp.asError(method, path)
}

// retryable leaves out 501, which is "not initialised" or "not implemented" and
// will be the same a moment later.
func retryable(status int) bool {
	return status >= 500 && status <= 599 && status != http.StatusNotImplemented
}

// NewRequest builds the HTTP request that Do would send, without sending it.
func (c *Client) NewRequest(ctx context.Context, req Request) (*http.Request, error) {
	u, err := c.url(req)
	if err != nil {
		return nil, err
	}
	var body io.Reader
	if req.Body != nil {
		raw, err := json.Marshal(req.Body)
		if err != nil {
			return nil, fmt.Errorf("encode the request for %s: %w", req.Path, err)
		}
		body = bytes.NewReader(raw)
	}
	method := req.Method
	if method == "" {
		method = http.MethodGet
	}
	out, err := http.NewRequestWithContext(ctx, method, u, body)
	if err != nil {
		return nil, fmt.Errorf("build the request for %s: %w", req.Path, err)
	}
	c.setHeader(out, req)
	return out, nil
}

func (c *Client) setHeader(out *http.Request, req Request) {
	for _, h := range []http.Header{c.cfg.Header, req.Header} {
		for name, values := range h {
			out.Header[http.CanonicalHeaderKey(name)] = values
		}
	}
	set := func(name, value string) {
		if value != "" {
			out.Header.Set(name, value)
		}
	}
	out.Header.Set("X-Vault-Request", "true")
	set("X-Vault-Token", c.token().Reveal())
	set("X-Vault-Namespace", c.cfg.Namespace)
	set("X-Vault-Wrap-TTL", c.cfg.WrapTTL)
	if req.Body != nil && out.Header.Get("Content-Type") == "" {
		out.Header.Set("Content-Type", "application/json")
	}
}

// url refuses dot segments: a server would clean them into another path than
// the one the caller's policy names.
func (c *Client) url(req Request) (string, error) {
	path := strings.TrimLeft(req.Path, "/")
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return "", fmt.Errorf("path %q: segments %q and %q are not allowed", req.Path, ".", "..")
		}
	}
	u := *c.here()
	u.Path += "/v1/" + path
	u.RawQuery = req.Query.Encode()
	return u.String(), nil
}

// once makes one attempt. The body is rewound from GetBody, which
// http.NewRequest sets for a bytes.Reader.
func (c *Client) once(req *http.Request) (_ *Response, err error) {
	if req.GetBody != nil {
		if req.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, withoutURL(err)
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, c.cfg.MaxResponse+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	if int64(len(body)) > c.cfg.MaxResponse {
		return nil, fmt.Errorf("%w: over %d bytes", ErrTooLarge, c.cfg.MaxResponse)
	}
	return &Response{Status: resp.StatusCode, Header: resp.Header, Body: body}, nil
}

// withoutURL strips net/http's repetition of the method and the URL, whose query
// may hold what should not be printed.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// pause is the server's Retry-After when it gives one, else a doubling wait with
// jitter, so that many clients do not come back at once.
func pause(attempt int, h http.Header) time.Duration {
	if d, ok := retryAfter(h); ok {
		return min(d, maxWait)
	}
	d := min(firstWait<<min(attempt, 10), maxWait) // more would overflow
	return d/2 + rand.N(d/2+1)
}

// retryAfter reads both forms of RFC 9110 section 10.2.3. The date form is taken
// relative to the answer's own Date, so that no clock is needed here.
func retryAfter(h http.Header) (time.Duration, bool) {
	v := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second, true
	}
	then, err := http.ParseTime(v)
	if err != nil {
		return 0, false
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return 0, false
	}
	return max(then.Sub(now), 0), true
}
