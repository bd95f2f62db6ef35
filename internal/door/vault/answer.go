package vault

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/gate"
)

// statuses is the one place where kinds of error become status codes.
var statuses = [...]int{
	api.Internal:    http.StatusInternalServerError,
	api.Invalid:     http.StatusBadRequest,
	api.NotFound:    http.StatusNotFound,
	api.Denied:      http.StatusForbidden,
	api.Conflict:    http.StatusBadRequest,
	api.Unsupported: http.StatusMethodNotAllowed,
	api.TooLarge:    http.StatusRequestEntityTooLarge,
	api.TooMany:     http.StatusTooManyRequests,
	api.Unavailable: http.StatusServiceUnavailable,
	api.MediaType:   http.StatusUnsupportedMediaType,
	api.Damaged:     http.StatusInternalServerError,
}

// Header values that every answer shares.
var (
	jsonType  = []string{"application/json"}
	noStore   = []string{"no-store"}
	transport = []string{"max-age=31536000; includeSubDomains"}
	noSniff   = []string{"nosniff"}
	noContent = []string{"default-src 'none'"} // what is answered is no page
	noFrame   = []string{"DENY"}
	noReferer = []string{"no-referrer"}

	// Of the few pages, which ask a browser's user something: no script, no style, no frame, and forms to the
	// server alone.
	formsOnly = []string{"default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"}
)

// An answer may take writeTime, and a second more for each writeRate bytes; what
// a client has not read by then is cut off.
const (
	writeTime = 30 * time.Second
	writeRate = 256 << 10 // bytes per second
)

// write sends the gate's answer.
func (d *Door) write(w http.ResponseWriter, r *http.Request, resp *gate.Response) {
	ok := d.send(w, r, resp)
	for _, fn := range resp.Sent {
		fn(ok && resp.Err == nil)
	}
}

// send sends an answer and reports whether all of it was handed to the connection:
// of an answer that nobody waits for, it may lie in a buffer still.
func (d *Door) send(w http.ResponseWriter, r *http.Request, resp *gate.Response) bool {
	h := w.Header()
	h["Content-Type"], h["Cache-Control"], h["Strict-Transport-Security"] = jsonType, noStore, transport
	h["X-Content-Type-Options"], h["Content-Security-Policy"] = noSniff, noContent
	h["X-Request-Id"] = []string{resp.RequestID}
	if ns := r.Header["X-Vault-Namespace"]; len(ns) > 0 && ns[0] != "" {
		h["X-Vault-Namespace"] = ns[:1]
	}
	status, body := render(resp)
	if resp.Raw != nil && resp.Raw.ContentType != "" {
		h["Content-Type"] = []string{resp.Raw.ContentType}
		if strings.HasPrefix(resp.Raw.ContentType, "text/html") {
			h["Content-Security-Policy"], h["X-Frame-Options"], h["Referrer-Policy"] = formsOnly, noFrame, noReferer
			if resp.Raw.Policy != "" {
				h["Content-Security-Policy"] = []string{resp.Raw.Policy}
			}
		}
	}
	if resp.Raw != nil && resp.Raw.Challenge != "" {
		h["Www-Authenticate"] = []string{resp.Raw.Challenge}
	}
	if resp.Raw != nil && resp.Raw.Keep > 0 && resp.Err == nil {
		h["Cache-Control"] = []string{"max-age=" + strconv.FormatInt(int64(resp.Raw.Keep/time.Second), 10)}
	}
	if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
		if resp.Err != nil && !stays(resp.Err) {
			h["Retry-After"] = []string{strconv.FormatInt(retryAfter(resp.Err), 10)}
		}
	}
	if status == http.StatusMethodNotAllowed {
		h["Allow"] = []string{allow(r, resp.Takes)}
	}
	if a := resp.Allowance; a != nil {
		h["X-Ratelimit-Limit"], h["X-Ratelimit-Remaining"] = []string{strconv.FormatInt(a.Limit, 10)}, []string{strconv.FormatInt(a.Remaining, 10)}
		h["X-Ratelimit-Reset"] = []string{strconv.FormatInt(a.Reset, 10)}
	}
	if !deadline(http.NewResponseController(w).SetWriteDeadline, d.now().Add(writeTime+time.Duration(len(body)/writeRate)*time.Second)) {
		return false // the connection is gone
	}
	if len(resp.Sent) > 0 {
		h["Content-Length"] = []string{strconv.Itoa(len(body))} // a flush would have it sent in chunks
	}
	w.WriteHeader(status)
	if resp.Raw != nil && resp.Raw.Stream != nil {
		d.stream(w, r, resp.Raw.Stream)
		return true
	}
	var err error
	if len(body) > 0 {
		_, err = w.Write(body)
	}
	if len(resp.Sent) > 0 && err == nil {
		err = http.NewResponseController(w).Flush()
	}
	return err == nil
}

// stays reports whether waiting does not help. Then no Retry-After is sent, by which
// clients know it.
func stays(err error) bool {
	var e *api.Error
	return errors.As(err, &e) && e.RetryAfter == api.Stays
}

// retryAfter is when to try again, in whole seconds: one at least.
func retryAfter(err error) int64 {
	var e *api.Error
	if !errors.As(err, &e) {
		return 1
	}
	return int64(max((e.RetryAfter+time.Second-1)/time.Second, 1))
}

// render is the status and body of an answer.
func render(resp *gate.Response) (int, []byte) {
	switch {
	case resp.Err != nil:
		return renderError(resp)
	case resp.Raw != nil:
		if resp.Raw.Status == 0 {
			return http.StatusOK, resp.Raw.Body
		}
		return resp.Raw.Status, resp.Raw.Body
	case resp.Data == nil && resp.Auth == nil && resp.Wrap == nil && resp.LeaseID == "" && len(resp.Warnings) == 0:
		return http.StatusNoContent, nil
	case resp.Flags&api.Bare != 0 && resp.Data != nil:
		return http.StatusOK, append(resp.Data, '\n')
	}
	return http.StatusOK, envelope(resp, resp.Data)
}

func renderError(resp *gate.Response) (int, []byte) {
	var e *api.Error
	if !errors.As(resp.Err, &e) || e.Kind == api.Internal {
		return http.StatusInternalServerError, errorBody("internal error; the server's log has the cause under request id " + resp.RequestID)
	}
	status := statuses[e.Kind]
	if e.Kind == api.NotFound && (resp.ErrData != nil || (len(resp.Warnings) > 0 && e.Message == "")) {
		return status, envelope(resp, resp.ErrData)
	}
	if e.Kind == api.Unsupported && e.Hint == "" || e.Kind == api.NotFound && e.Message == "" {
		return status, errorBody()
	}
	return status, errorBody(e.Error())
}

func errorBody(messages ...string) []byte {
	if messages == nil {
		messages = []string{}
	}
	b, err := json.Marshal(struct {
		Errors []string `json:"errors"`
	}{messages})
	if err != nil {
		return []byte(`{"errors":["internal error"]}`)
	}
	return append(b, '\n')
}

// envelopeRoom is what an envelope without login, lease and warnings takes around its data, in bytes, and some more.
const envelopeRoom = 320

// envelope wraps data as clients expect, fields in the order they are sent by
// the servers those clients know.
func envelope(resp *gate.Response, data []byte) []byte {
	flat := resp.Flags&api.Flat != 0 && len(data) > 2
	size := len(data) + envelopeRoom
	if flat {
		size += len(data)
	}
	b := make([]byte, 0, size)
	b = append(b, '{')
	if flat {
		b = appendFlat(b, data)
	}
	b = append(b, `"request_id":"`...)
	if resp.Wrap == nil {
		b = append(b, resp.RequestID...)
	}
	b = append(b, `","lease_id":`...)
	b = appendText(b, resp.LeaseID)
	b = append(b, `,"renewable":`...)
	b = strconv.AppendBool(b, resp.Renewable)
	b = append(b, `,"lease_duration":`...)
	b = strconv.AppendInt(b, int64(resp.LeaseDuration/time.Second), 10)
	b = append(b, `,"data":`...)
	if data == nil {
		b = append(b, "null"...)
	} else {
		b = append(b, data...)
	}
	b = append(b, `,"wrap_info":`...)
	b = appendWrap(b, resp.Wrap)
	b = append(b, `,"warnings":`...)
	b = appendTexts(b, resp.Warnings)
	b = append(b, `,"auth":`...)
	b = appendAuth(b, resp.Auth)
	b = append(b, `,"mount_type":`...)
	b = appendText(b, resp.MountType)
	return append(b, "}\n"...)
}

func appendText(b []byte, s string) []byte {
	out, err := jsontext.AppendQuote(b, s)
	if err != nil { // not UTF-8: what was wrong in it is replaced by U+FFFD
		return append(b, `""`...)
	}
	return out
}

func appendTexts(b []byte, list []string) []byte {
	if len(list) == 0 {
		return append(b, "null"...)
	}
	b = append(b, '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(b, s)
	}
	return append(b, ']')
}

// authBlock is the form of an answer to a login or a token's creation. Here and
// in wrapBlock new tokens leave the server.
type authBlock struct {
	ClientToken      string              `json:"client_token"`
	Accessor         string              `json:"accessor"`
	Policies         []string            `json:"policies"`
	TokenPolicies    []string            `json:"token_policies"`
	IdentityPolicies []string            `json:"identity_policies,omitempty"`
	Metadata         map[string]string   `json:"metadata"`
	LeaseDuration    int64               `json:"lease_duration"`
	Renewable        bool                `json:"renewable"`
	EntityID         string              `json:"entity_id"`
	TokenType        string              `json:"token_type"`
	Orphan           bool                `json:"orphan"`
	MFA              *api.MFARequirement `json:"mfa_requirement"`
	NumUses          int                 `json:"num_uses"`
}

func appendAuth(b []byte, a *api.Auth) []byte {
	if a == nil {
		return append(b, "null"...)
	}
	out, err := json.Marshal(authBlock{a.ClientToken.Reveal(), a.Accessor, a.Policies, a.TokenPolicies, a.IdentityPolicies, a.Metadata,
		int64(a.TTL / time.Second), a.Renewable, a.EntityID, a.TokenType, a.Orphan, a.MFA, a.NumUses})
	if err != nil {
		return append(b, "null"...)
	}
	return append(b, out...)
}

// wrapBlock is the form of an answer that is kept for the bearer of a token.
type wrapBlock struct {
	Token           string   `json:"token"`
	Accessor        string   `json:"accessor"`
	TTL             int64    `json:"ttl"` // seconds
	CreationTime    api.Time `json:"creation_time"`
	CreationPath    string   `json:"creation_path"`
	WrappedAccessor string   `json:"wrapped_accessor,omitempty"`
}

func appendWrap(b []byte, w *api.WrapInfo) []byte {
	if w == nil {
		return append(b, "null"...)
	}
	out, err := json.Marshal(wrapBlock{w.Token.Reveal(), w.Accessor, int64(w.TTL / time.Second), api.Time{Time: w.CreationTime},
		w.CreationPath, w.WrappedAccessor})
	if err != nil {
		return append(b, "null"...)
	}
	return append(b, out...)
}
