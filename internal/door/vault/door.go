// Package vault is the door that speaks the HTTP API of HashiCorp Vault and
// OpenBao. It turns a request of that dialect into the gate's and the gate's
// answer into that dialect's, and knows nothing of what lies behind the gate.
package vault

import (
	"bytes"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/gate"
)

const (
	prefix = "/v1/"
	headed = "sys/health" // the one path that takes HEAD, in whichever namespace the header names; behind one in the path it is another
)

// Door is the http.Handler of the dialect.
type Door struct {
	gate   *gate.Gate
	now    func() time.Time
	bodies budget
	turn   chan struct{} // holds one while a very large body is parsed and worked on
}

// New makes the door to a gate. A connection's deadlines are reckoned by now,
// which is the clock of the machine's sockets. inFlight is how many bytes all
// large bodies may hold at once; one client's may hold a third of it, or MaxBody where
// that is more.
func New(g *gate.Gate, now func() time.Time, inFlight int64) *Door {
	return &Door{gate: g, now: now, bodies: budget{most: inFlight, each: max(inFlight/3, MaxBody), held: map[string]int64{}}, turn: make(chan struct{}, 1)}
}

// Bodies is the most that large bodies have held at once since the last call, in
// bytes.
func (d *Door) Bodies() int64 { return d.bodies.takePeak() }

// ServeHTTP answers one request.
func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	resp := d.settle(w, r)
	if resp == nil {
		resp = d.serve(w, r)
	}
	d.write(w, r, resp)
}

// serve is the answer. A body that was taken is let go before the answer is
// sent, so that a slow reader does not keep others out.
func (d *Door) serve(w http.ResponseWriter, r *http.Request) *gate.Response {
	if len(r.TransferEncoding) > 0 {
		// It may have had a length too, by which somebody on the way has seen another
		// end; nothing that follows is read as a request (RFC 9112, section 6.1).
		w.Header()["Connection"] = []string{"close"}
	}
	held := &share{of: &d.bodies}
	defer held.release()
	req, err := d.read(w, r, held)
	if err != nil {
		return &gate.Response{RequestID: req.ID, Err: err, Takes: everything}
	}
	return d.gate.Serve(r.Context(), req)
}

// read turns the HTTP request into the gate's.
func (d *Door) read(w http.ResponseWriter, r *http.Request, held *share) (*gate.Request, error) {
	req := &gate.Request{ID: api.NewUUID(), Namespace: r.Header.Get("X-Vault-Namespace"), Headers: r.Header, Token: tokenOf(r)}
	path, ok := strings.CutPrefix(r.URL.Path, prefix)
	if !ok {
		return req, &api.Error{Kind: api.NotFound, Message: "no such page", Hint: "the API is below /v1/"}
	}
	req.Path = path
	if user, password, ok := r.BasicAuth(); ok {
		req.Basic = &api.Basic{User: user, Password: api.NewSecret(password)}
	}
	if r.TLS != nil {
		req.Peer = r.TLS.PeerCertificates
	}
	if ap, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		req.Remote = ap
	}
	var err error
	if req.WrapTTL, err = wrapTTL(r.Header); err != nil {
		return req, err
	}
	req.WrapJWT = strings.EqualFold(r.Header.Get("X-Vault-Wrap-Format"), "jwt") // others ask for the usual form
	if req.Filter, err = filterLists(r.Header); err != nil {
		return req, err
	}
	var query url.Values
	if r.URL.RawQuery != "" {
		if query, err = url.ParseQuery(r.URL.RawQuery); err != nil {
			return req, api.Errorf(api.Invalid, "the query is malformed")
		}
	}
	if err := operation(req, r, query); err != nil {
		return req, err
	}
	return req, d.body(w, r, req, query, held)
}

// wrapTTL is for how long the answer is to be wrapped; 0: not at all.
func wrapTTL(h http.Header) (time.Duration, error) {
	ttl, err := api.ParseDuration(h.Get("X-Vault-Wrap-Ttl")) // X-Vault-Wrap-TTL, as http.Header spells it: Get need not
	switch {
	case err != nil || ttl < 0:
		return 0, api.Errorf(api.Invalid, "X-Vault-Wrap-TTL: not a duration such as 60 or 5m")
	}
	return ttl, nil
}

// filterLists reports whether lists are to hold only what the caller may do
// something with.
func filterLists(h http.Header) (bool, error) {
	text := h.Get("X-Strongroom-Filter-Lists")
	if text == "" {
		return false, nil
	}
	on, err := strconv.ParseBool(text)
	if err != nil {
		return false, api.Errorf(api.Invalid, "X-Strongroom-Filter-Lists: must be true or false")
	}
	return on, nil
}

// tokenOf is the caller's token: X-Vault-Token, or the first bearer token.
func tokenOf(r *http.Request) api.Secret {
	if t := r.Header.Get("X-Vault-Token"); t != "" {
		return api.NewSecret(t)
	}
	for _, v := range r.Header["Authorization"] {
		if t, ok := strings.CutPrefix(v, "Bearer "); ok {
			return api.NewSecret(strings.TrimSpace(t))
		}
	}
	return api.Secret{}
}

// operation reads the verb, with list=true and scan=true as other spellings.
func operation(req *gate.Request, r *http.Request, query url.Values) error {
	list, err := flag(query, "list")
	if err != nil {
		return err
	}
	scan, err := flag(query, "scan")
	if err != nil {
		return err
	}
	if req.Help, err = flag(query, "help"); err != nil {
		return err
	}
	req.Help = req.Help && r.Method == http.MethodGet
	switch {
	case r.Method == http.MethodGet && list && scan:
		return api.Errorf(api.Invalid, "list and scan cannot both be true")
	case r.Method == http.MethodGet && list:
		req.Op = api.List
	case r.Method == http.MethodGet && scan:
		req.Op = api.Scan
	case r.Method == http.MethodHead && req.Path != headed:
		return &api.Error{Kind: api.Unsupported}
	default:
		req.Op = verbOf(r.Method)
	}
	if req.Op == 0 {
		return &api.Error{Kind: api.Unsupported}
	}
	return nil
}

// verbOf is what a method asks for; 0 when it is none of the dialect's.
func verbOf(method string) api.Op {
	switch method {
	case http.MethodGet, http.MethodHead:
		return api.Read
	case http.MethodPost, http.MethodPut:
		return api.Write
	case http.MethodPatch:
		return api.Patch
	case http.MethodDelete:
		return api.Delete
	case "LIST":
		return api.List
	case "SCAN":
		return api.Scan
	}
	return 0
}

// everything is what paths take at most: all that is told of one before it is known who asks.
var everything = []api.Op{api.Read, api.Write, api.Patch, api.Delete, api.List, api.Scan}

// spellings are the methods that ask for an operation.
var spellings = [...][]string{api.Read: {http.MethodGet}, api.Write: {http.MethodPost, http.MethodPut}, api.Patch: {http.MethodPatch},
	api.Delete: {http.MethodDelete}, api.List: {"LIST", http.MethodGet}, api.Scan: {"SCAN", http.MethodGet}}

// allow is the Allow of an answer 405 (RFC 9110, section 15.5.6): the methods of what the path takes.
func allow(r *http.Request, takes []api.Op) string {
	var names []string
	for _, op := range takes {
		names = append(names, spellings[op]...)
		if op == api.Read && r.URL.Path == prefix+headed {
			names = append(names, http.MethodHead)
		}
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}

// flag takes a truth value out of the query. One that is repeated must say the
// same each time, so that nobody on the way can have read another verb.
func flag(query url.Values, name string) (bool, error) {
	vs := query[name]
	delete(query, name)
	if len(vs) == 0 || len(vs) == 1 && vs[0] == "" {
		return false, nil
	}
	first, err := strconv.ParseBool(vs[0])
	for _, v := range vs[1:] {
		if b, e := strconv.ParseBool(v); e != nil || b != first {
			err = strconv.ErrSyntax
		}
	}
	if err != nil {
		return false, api.Errorf(api.Invalid, "%s: must be true or false", name)
	}
	return first, nil
}

// body reads the parameters: those of the query for verbs without a body, else
// the body's. DELETE takes either: what is a secret does not belong into a query.
// The size is bounded before anything is parsed.
func (d *Door) body(w http.ResponseWriter, r *http.Request, req *gate.Request, query url.Values, held *share) (err error) {
	deletes := req.Op == api.Delete && len(query) == 0 && r.ContentLength != 0
	if req.Op != api.Write && req.Op != api.Patch && !deletes {
		if len(query) > 0 {
			req.Body, err = api.QueryBody(query)
		}
		return err
	}
	if req.Op == api.Patch && !mergePatch(r.Header.Get("Content-Type")) {
		return &api.Error{Kind: api.MediaType, Message: "PATCH requires Content-Type of application/merge-patch+json"}
	}
	if d.gate.Uploads(req) {
		req.Upload = d.upload(w, r)
		if len(query) > 0 { // where a body is not for parameters
			req.Body, err = api.QueryBody(query)
		}
		return err
	}
	raw, err := d.readBody(w, r, req, held)
	if err == nil {
		err = held.await(r.Context(), d.turn)
	}
	if err != nil {
		return err
	}
	if isForm(r.Header.Get("Content-Type"), raw) {
		values, err := url.ParseQuery(string(raw))
		if err != nil {
			return api.Errorf(api.Invalid, "the form is malformed")
		}
		req.Body, err = api.QueryBody(values)
		return err
	}
	req.Body, err = api.ParseBodyWithin(raw, boundsOf(r.Context()).Values)
	return err
}

func mergePatch(contentType string) bool {
	t, _, err := mime.ParseMediaType(contentType)
	return err == nil && t == "application/merge-patch+json"
}

// isForm tells a form from what a client has labelled as one: curl does that to
// all that it sends. In a form each part names a parameter. A body that names none, such as a
// key or a file, would be taken for a name, and names are shown where values are not.
func isForm(contentType string, body []byte) bool {
	if !strings.HasPrefix(contentType, "application/x-www-form-urlencoded") {
		return false
	}
	body = bytes.TrimLeft(body, " \t\r\n")
	if len(body) == 0 || body[0] == '{' || body[0] == '[' {
		return false
	}
	for part := range bytes.SplitSeq(body, []byte("&")) {
		name, value, named := bytes.Cut(part, []byte("="))
		padding := len(value) > 0 && len(bytes.Trim(value, "=")) == 0 // of base64
		if len(part) > 0 && (!named || len(name) == 0 || padding) {
			return false
		}
	}
	return true
}
