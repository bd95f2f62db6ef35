package settings

import (
	"net/url"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
)

// Bounds of what may be configured.
const (
	maxOrigins = 256
	maxHeaders = 64
	maxName    = 128     // bytes of a header's name or an origin
	maxValue   = 8 << 10 // bytes of a header's values together
)

// Routes are the endpoints of settings, relative to sys/.
func Routes() []api.Route[*Store] {
	return []api.Route[*Store]{
		api.Handle(api.Read, "config/cors", (*Store).readCORS, api.Sudo, api.Flat, api.RootOnly),
		api.Handle(api.Write, "config/cors", (*Store).writeCORS, api.Sudo, api.RootOnly),
		api.Handle(api.Delete, "config/cors", (*Store).deleteCORS, api.Sudo, api.RootOnly),
		api.Handle(api.List, "config/ui/headers", (*Store).listHeaders, api.Sudo, api.RootOnly),
		api.Handle(api.Read, "config/ui/headers/{header}", (*Store).readHeader, api.Sudo, api.RootOnly),
		api.Handle(api.Write, "config/ui/headers/{header}", (*Store).writeHeader, api.Sudo, api.RootOnly),
		api.Handle(api.Delete, "config/ui/headers/{header}", (*Store).deleteHeader, api.Sudo, api.RootOnly),
	}
}

// CORSRequest says which origins may ask.
type CORSRequest struct {
	Enable      *bool    `json:"enable"`                          // False lets no origin ask, as deleting does.
	Enabled     *bool    `json:"enabled"`                         // Kept for compatibility: clients send it, and servers pass it over.
	Origins     []string `json:"allowed_origins" audit:"clear"`   // Origins that may ask, such as https://app.example; * alone: any.
	Headers     []string `json:"allowed_headers" audit:"clear"`   // Headers that their requests may carry beside the usual ones.
	Credentials bool     `json:"allow_credentials" audit:"clear"` // Let browsers send cookies and certificates; not with *.
}

// CORSAnswer says which origins may ask.
type CORSAnswer struct {
	Enabled     bool     `json:"enabled"`
	Origins     []string `json:"allowed_origins,omitempty"`
	Headers     []string `json:"allowed_headers,omitempty"`
	Credentials *bool    `json:"allow_credentials,omitempty"`
}

// readCORS says which origins may ask.
func (s *Store) readCORS(c *api.Call, _ *api.None) (*CORSAnswer, error) {
	now, err := s.Fresh(c)
	if err != nil || now.CORS == nil {
		return &CORSAnswer{}, err
	}
	return &CORSAnswer{Enabled: true, Origins: now.CORS.Origins, Headers: now.CORS.shownHeaders(), Credentials: &now.CORS.Credentials}, nil
}

// writeCORS lets origins ask. Requests of any other are refused from then on.
func (s *Store) writeCORS(c *api.Call, q *CORSRequest) (*api.None, error) {
	if q.Enable != nil && !*q.Enable {
		return nil, s.write(c, corsKey, nil)
	}
	next := &CORS{Origins: q.Origins, Headers: q.Headers, Credentials: q.Credentials}
	if err := next.check(); err != nil {
		return nil, err
	}
	return nil, s.write(c, corsKey, next)
}

// deleteCORS lets no origin ask.
func (s *Store) deleteCORS(c *api.Call, _ *api.None) (*api.None, error) {
	return nil, s.write(c, corsKey, nil)
}

func invalid(message, hint string) *api.Error {
	return &api.Error{Kind: api.Invalid, Message: message, Hint: hint}
}

func (c *CORS) check() error {
	anybody := slices.Contains(c.Origins, "*")
	switch {
	case len(c.Origins) == 0:
		return invalid("at least one origin or the wildcard must be provided", "give allowed_origins, such as https://app.example")
	case len(c.Origins) > maxOrigins || len(c.Headers) > maxHeaders:
		return api.Errorf(api.Invalid, "more than %d origins or %d headers", maxOrigins, maxHeaders)
	case anybody && len(c.Origins) > 1:
		return invalid("to allow all origins the '*' must be the only value for allowed_origins", "name the origins, or give * alone")
	case anybody && c.Credentials:
		return invalid("allow_credentials: not for every origin: any page could act with its visitor's credentials", "name the origins")
	}
	for _, o := range c.Origins {
		if o != "*" && !origin(o) {
			return invalid("allowed_origins: not an origin", "an origin is scheme://host or scheme://host:port, without a path")
		}
	}
	if !slices.ContainsFunc(c.Headers, func(h string) bool { return !token(h) }) {
		return nil
	}
	return invalid("allowed_headers: not a header's name", "")
}

// origin reports whether a text has the form that browsers send (RFC 6454).
func origin(text string) bool {
	u, err := url.Parse(text)
	return err == nil && len(text) <= maxName && u.Scheme != "" && u.Host != "" && u.User == nil && text == u.Scheme+"://"+u.Host
}

// token reports whether a text may be a header's name (RFC 9110, 5.6.2).
func token(text string) bool {
	return text != "" && len(text) <= maxName && strings.IndexFunc(text, func(r rune) bool {
		return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || strings.ContainsRune("!#$%&'*+-.^_`|~", r))
	}) < 0
}
