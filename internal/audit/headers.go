package audit

import (
	"context"
	"maps"
	"net/http"
	"strconv"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// WatchPrefix begins every key whose change Reload has to hear of: of
// declarations, and of the request headers that entries show.
const WatchPrefix = "audit"

// headerPrefix is where the store keeps the request headers that entries show,
// one row each, by lower-case name.
const headerPrefix = "audit-header/"

// maxHeaders bounds the request headers that entries show.
const maxHeaders = 64

// HeaderRoutes are the endpoints of request headers, relative to sys/.
var HeaderRoutes = []api.Route[*Devices]{
	api.Handle(api.Read, "config/auditing/request-headers", (*Devices).ListHeaders, api.Sudo, api.Flat, api.RootOnly),
	api.Handle(api.Read, "config/auditing/request-headers/{header}", (*Devices).ReadHeader, api.Sudo, api.Flat, api.RootOnly),
	api.Handle(api.Write, "config/auditing/request-headers/{header}", (*Devices).ShowHeader, api.Sudo, api.RootOnly),
	api.Handle(api.Delete, "config/auditing/request-headers/{header}", (*Devices).HideHeader, api.Sudo, api.RootOnly),
}

// HeaderName names a request header.
type HeaderName struct {
	Header api.Name `path:"header"` // Name of the header, in any case.
}

// HeaderRequest has entries show a request header.
type HeaderRequest struct {
	HeaderName
	HMAC bool `json:"hmac"` // Show a hash of its value. Those that carry credentials are always hashed.
}

// ShownHeader says how entries show a request header.
type ShownHeader struct {
	HMAC bool `json:"hmac"`
}

// ShownHeaders are the request headers that entries show, by lower-case name.
type ShownHeaders struct {
	Headers map[string]ShownHeader `json:"headers"`
}

// headers are those that entries show: of the configuration, and as stored.
func (d *Devices) headers(ctx context.Context) (map[string]bool, error) {
	if d.home != "" { // what the operator has shown may be more than a namespace's people are to see
		return nil, nil
	}
	out := maps.Clone(d.env.Headers)
	if out == nil {
		out = map[string]bool{}
	}
	damaged, err := store.SiftJSON(ctx, d.store, store.Prefix(headerPrefix), func(e store.Entry, h *ShownHeader) {
		out[strings.TrimPrefix(e.Key, headerPrefix)] = h.HMAC
	})
	for _, e := range damaged { // it was to be shown; whether in the clear is not known
		out[strings.TrimPrefix(e.Key, headerPrefix)] = true
	}
	if err == nil {
		d.env.damaged(headerPrefix, damaged)
	}
	return out, err
}

func shownAs(name string, hashed bool) ShownHeader {
	return ShownHeader{hashed || isCredential(http.CanonicalHeaderKey(name))}
}

// ListHeaders answers the request headers that entries show.
func (d *Devices) ListHeaders(c *api.Call, _ *api.None) (*ShownHeaders, error) {
	all, err := d.headers(c)
	if err != nil {
		return nil, err
	}
	out := &ShownHeaders{Headers: map[string]ShownHeader{}}
	for name, hashed := range all {
		out.Headers[strings.ToLower(name)] = shownAs(name, hashed)
	}
	return out, nil
}

// ReadHeader answers how entries show a request header.
func (d *Devices) ReadHeader(c *api.Call, r *HeaderName) (*map[string]ShownHeader, error) {
	all, err := d.headers(c)
	if err != nil {
		return nil, err
	}
	hashed, ok := all[string(r.Header)]
	if !ok {
		return nil, &api.Error{Kind: api.Invalid, Message: "Could not find header in config"}
	}
	return &map[string]ShownHeader{http.CanonicalHeaderKey(string(r.Header)): shownAs(string(r.Header), hashed)}, nil
}

// ShowHeader has entries show a request header from now on, on every node.
func (d *Devices) ShowHeader(c *api.Call, r *HeaderRequest) (*api.None, error) {
	if !headerName(string(r.Header)) {
		return nil, api.Errorf(api.Invalid, "header: not a header's name")
	}
	all, err := d.headers(c)
	if err != nil {
		return nil, err
	}
	if _, known := all[string(r.Header)]; !known && len(all) >= maxHeaders {
		return nil, api.Errorf(api.Invalid, "entries show %d headers already", maxHeaders)
	}
	return nil, d.writeHeader(c, store.Write{Key: headerPrefix + string(r.Header), Value: []byte(`{"hmac":` + strconv.FormatBool(r.HMAC) + `}`)})
}

// HideHeader leaves a request header out of entries from now on.
func (d *Devices) HideHeader(c *api.Call, r *HeaderName) (*api.None, error) {
	return nil, d.writeHeader(c, store.Write{Key: headerPrefix + string(r.Header), Delete: true})
}

func (d *Devices) writeHeader(c *api.Call, w store.Write) error {
	if _, err := d.store.Commit(c, nil, []store.Write{w}); err != nil {
		return err
	}
	return d.Reload(c)
}

// headerName reports whether a lower-case text may be a header's name (RFC 9110, 5.6.2).
func headerName(text string) bool {
	return text != "" && len(text) <= 128 && !strings.ContainsFunc(text, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~", r)
	})
}
