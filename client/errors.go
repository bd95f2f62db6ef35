package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Kinds of errors, for errors.Is. Each *Error is one of the first group by its
// status.
var (
	ErrBadRequest  = errors.New("the server refused the request as wrong")    // 400, 405, 415
	ErrForbidden   = errors.New("permission denied")                          // 401, 403
	ErrNotFound    = errors.New("nothing is there")                           // 404
	ErrConflict    = errors.New("the state has changed meanwhile")            // 409, 412
	ErrRateLimited = errors.New("too many requests")                          // 429
	ErrServer      = errors.New("the server failed")                          // 500 and others above
	ErrUnavailable = errors.New("the server is sealed or otherwise not able") // 501, 502, 503, 504

	// ErrRedirect is a redirect to another host, or too many of them.
	ErrRedirect = errors.New("redirect refused")
	// ErrTooLarge is an answer over Config.MaxResponse, or a request over the
	// server's limit (413).
	ErrTooLarge = errors.New("too large")
)

// Error is an answer whose status is 400 or more.
type Error struct {
	Status    int      // HTTP status code
	Method    string   // of the request
	Path      string   // of the request, below /v1/
	Messages  []string // the server's own words; may be empty
	RequestID string   // to find the request in the server's audit log; may be empty
	Secret    *Secret  // what came in the envelope's data or warnings, or nil
	// RetryAfter is how long the server asks to wait; 0 where it does not say.
	RetryAfter time.Duration
}

// Error says what failed and the server's words, on one line.
func (e *Error) Error() string {
	text := e.Summary()
	if len(e.Messages) > 0 {
		text += ": " + strings.Join(e.Messages, "; ")
	}
	if e.RequestID != "" {
		text += " (request " + e.RequestID + ")"
	}
	return text
}

// Warnings are the warnings that came with the answer.
func (e *Error) Warnings() []string {
	if e.Secret == nil {
		return nil
	}
	return e.Secret.Warnings
}

// Is reports whether e's status belongs to the kind that target names.
func (e *Error) Is(target error) bool { return kindOf(e.Status) == target }

func kindOf(status int) error {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return ErrForbidden
	case http.StatusNotFound:
		return ErrNotFound
	case http.StatusConflict, http.StatusPreconditionFailed:
		return ErrConflict
	case http.StatusRequestEntityTooLarge:
		return ErrTooLarge
	case http.StatusTooManyRequests:
		return ErrRateLimited
	case http.StatusNotImplemented, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return ErrUnavailable
	}
	if status >= 500 {
		return ErrServer
	}
	return ErrBadRequest
}

// TransportError is a failure to get any answer at all.
type TransportError struct {
	Method  string // of the request
	Address string // of the server
	Path    string // of the request, below /v1/
	Err     error  // the cause
}

// Error names the request and its cause, on one line.
func (e *TransportError) Error() string {
	return fmt.Sprintf("%s %s at %s: %v", e.Method, e.Path, e.Address, e.Err)
}

// Unwrap returns the cause.
func (e *TransportError) Unwrap() error { return e.Err }

// asError returns nil for a status below 400. A redirect that was not followed
// is an error too, since there is no answer to read.
func (r *Response) asError(method, path string) error {
	if r.Status < 300 {
		return nil
	}
	out := &Error{Status: r.Status, Method: method, Path: path, RequestID: r.Header.Get("X-Request-Id")}
	out.RetryAfter, _ = retryAfter(r.Header)
	var body struct {
		Errors    []any  `json:"errors"`
		RequestID string `json:"request_id"`
	}
	if text := strings.TrimSpace(string(r.Body)); isSentence(text, r.Header.Get("Content-Type")) {
		out.Messages = []string{text}
		return out
	}
	// Other bodies that are no JSON, as a proxy's page, leave only the status.
	if json.Unmarshal(r.Body, &body) == nil {
		for _, m := range body.Errors {
			out.Messages = append(out.Messages, fmt.Sprint(m))
		}
		if body.RequestID != "" {
			out.RequestID = body.RequestID
		}
		if s, err := parseSecret(r.Body); err == nil && s != nil && (s.Data != nil || len(s.Warnings) > 0) {
			out.Secret = s
		}
	}
	return out
}

// Summary says the request and its status, without the server's words.
func (e *Error) Summary() string {
	return fmt.Sprintf("%s %s: %d %s", e.Method, e.Path, e.Status, http.StatusText(e.Status))
}

// isSentence tells a line of plain text, as Go's own server answers a request of
// the wrong scheme, from JSON and from pages.
func isSentence(text, contentType string) bool {
	plain := contentType == "" || strings.HasPrefix(contentType, "text/plain")
	return plain && text != "" && len(text) <= 200 && !strings.ContainsAny(text, "{}[]<>\n")
}
