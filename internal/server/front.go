package server

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
)

// connectionKey is the key of a connection in its context.
type connectionKey struct{}

// within notes which connection requests come by.
func within(ctx context.Context, c net.Conn) context.Context {
	if k := countedOf(c); k != nil {
		return context.WithValue(ctx, connectionKey{}, k)
	}
	return ctx
}

// front is what the door's answers go through on the listeners of the
// configuration: whom a request counts as coming from, what headers its answer
// has, and what is served at all.
func (s *Server) front(door http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		k, ok := r.Context().Value(connectionKey{}).(*counted)
		if !ok {
			door.ServeHTTP(w, r)
			return
		}
		l := k.limits.listener
		if len(l.Headers) > 0 {
			w = &headed{ResponseWriter: w, headers: l.Headers}
		}
		if r.ProtoMajor > 1 { // before, there is one at a time
			if !k.begin() {
				k.limits.tell(k.who)
				w.Header().Set("Retry-After", "1")
				refuse(w, http.StatusServiceUnavailable, "too many requests are under way at once; try again in a second, or send fewer at a time")
				return
			}
			defer k.end()
		}
		if err := l.Forwarded.believe(r); err != nil {
			refuse(w, http.StatusBadRequest, err.Error())
			return
		}
		s.admit(l, door, w, r)
	})
}

// refuse answers before the door is reached, in the form of its dialect.
func refuse(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	body, err := json.Marshal(map[string][]string{"errors": {message}})
	if err == nil {
		w.Write(append(body, '\n')) // a client that is gone does not hear of it
	}
}

// believe makes a request one of the client that a proxy names in
// X-Forwarded-For.
func (f *Forwarded) believe(r *http.Request) error {
	if len(f.From) == 0 {
		return nil
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !contains(f.From, from.Addr()) {
		if f.AllowOthers {
			return nil
		}
		return fmt.Errorf("client address not authorized for x-forwarded-for and configured to reject connection; ask through the proxy")
	}
	if len(r.Header["X-Forwarded-For"]) == 0 {
		if f.AllowMissing {
			return nil
		}
		return fmt.Errorf("missing x-forwarded-for header and configured to reject when not present")
	}
	client, err := f.client(r.Header["X-Forwarded-For"])
	if err != nil {
		return err
	}
	r.RemoteAddr = netip.AddrPortFrom(client, from.Port()).String()
	return nil
}

// client is the address that the nearest proxy to be skipped has seen. Those
// before it are what the client itself may have made up.
func (f *Forwarded) client(headers []string) (netip.Addr, error) {
	chain := strings.Split(strings.Join(headers, ","), ",")
	i := len(chain) - 1 - f.Hops
	if i < 0 {
		return netip.Addr{}, fmt.Errorf("malformed x-forwarded-for configuration or request, hops to skip (%d) would skip before earliest chain link (chain length %d)", f.Hops, len(chain))
	}
	text := strings.TrimSpace(chain[i])
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return ap.Addr(), nil
	}
	a, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil {
		return netip.Addr{}, fmt.Errorf("malformed x-forwarded-for header: address %d of %d is none", i+1, len(chain))
	}
	return a, nil
}

// headed gives each answer the headers that its listener is configured with.
type headed struct {
	http.ResponseWriter
	headers ResponseHeaders
}

// WriteHeader sends the status.
func (h *headed) WriteHeader(status int) {
	h.headers.apply(h.Header(), status)
	h.ResponseWriter.WriteHeader(status)
}

// Unwrap is the writer below, for http.ResponseController.
func (h *headed) Unwrap() http.ResponseWriter { return h.ResponseWriter }
