package vault

import (
	"net/http"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/gate"
)

// preflight is for how long a browser may remember what it may ask, in seconds.
const preflight = "300"

var (
	methods = []string{"DELETE", "GET", "OPTIONS", "POST", "PUT", "PATCH", "LIST", "SCAN"}
	allowed = []string{strings.Join(methods, ",")}
	vary    = []string{"Origin"}
)

// settle gives the answer the headers that are configured, and answers itself
// what browsers ask beforehand, or when their page may not ask at all; else it
// returns nil. It is no authorisation: who is no browser names any origin or
// none, and still needs a token.
func (d *Door) settle(w http.ResponseWriter, r *http.Request) *gate.Response {
	origin := r.Header.Get("Origin")
	s, err := d.gate.Settings(r.Context(), origin != "")
	switch {
	case err != nil && origin != "":
		return refuse(&api.Error{Kind: api.Unavailable, Message: "whether the origin may ask is not known: the store cannot be read", Err: err})
	case err != nil || s == nil: // who asks for what is stored meets the same trouble at the gate
		return nil
	}
	h := w.Header()
	for name, values := range s.Headers {
		h[name] = values
	}
	if origin == "" || s.CORS == nil {
		return nil
	}
	h["Vary"] = vary
	if !s.CORS.Allows(origin) {
		return refuse(&api.Error{Kind: api.Denied, Message: "origin not allowed", Hint: "an administrator can allow it: sys/config/cors"})
	}
	h["Access-Control-Allow-Origin"] = []string{origin}
	if s.CORS.Credentials {
		h["Access-Control-Allow-Credentials"] = []string{"true"}
	}
	if r.Method != http.MethodOptions {
		return nil
	}
	if !slices.Contains(methods, r.Header.Get("Access-Control-Request-Method")) {
		return refuse(&api.Error{Kind: api.Unsupported})
	}
	h["Access-Control-Allow-Methods"] = allowed
	h["Access-Control-Allow-Headers"] = []string{strings.Join(s.CORS.AllowedHeaders(), ",")}
	h["Access-Control-Max-Age"] = []string{preflight}
	return &gate.Response{RequestID: api.NewUUID(), Raw: &api.Raw{}}
}

func refuse(e *api.Error) *gate.Response {
	return &gate.Response{RequestID: api.NewUUID(), Err: e, Takes: everything}
}
