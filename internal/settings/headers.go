package settings

import (
	"net/http"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// HeaderName names a header.
type HeaderName struct {
	Header api.Name `path:"header"` // Name of the header, in any case.
}

// ReadHeaderRequest asks for a header's values.
type ReadHeaderRequest struct {
	HeaderName
	Multi bool `json:"multivalue"` // Answer all values instead of the first.
}

// HeaderRequest sets a header.
type HeaderRequest struct {
	HeaderName
	Values []string `json:"values" audit:"clear"` // Its values.
	Multi  bool     `json:"multivalue"`           // Kept for compatibility; all values are sent either way.
}

// HeaderAnswer is a header's values.
type HeaderAnswer struct {
	Value  *string  `json:"value,omitempty"`
	Values []string `json:"values,omitempty"`
}

func rowKey(name api.Name) string { return headerPrefix + string(name) }

// listHeaders lists the further headers that answers carry.
func (s *Store) listHeaders(c *api.Call, _ *api.None) (*api.Keys, error) {
	now, err := s.Fresh(c)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(now.Headers))
	for name := range now.Headers {
		names = append(names, name)
	}
	slices.Sort(names)
	return &api.Keys{Keys: names}, nil
}

// readHeader answers the values of a header that answers carry.
func (s *Store) readHeader(c *api.Call, q *ReadHeaderRequest) (*HeaderAnswer, error) {
	now, err := s.Fresh(c)
	if err != nil {
		return nil, err
	}
	values := now.Headers[http.CanonicalHeaderKey(string(q.Header))]
	if len(values) == 0 {
		return nil, api.ErrNotFound()
	}
	if q.Multi {
		return &HeaderAnswer{Values: values}, nil
	}
	return &HeaderAnswer{Value: &values[0]}, nil
}

// writeHeader has all answers carry a header.
func (s *Store) writeHeader(c *api.Call, q *HeaderRequest) (*api.None, error) {
	if q.Header == "" || len(q.Values) == 0 {
		return nil, api.Errorf(api.Invalid, "header and values must be specified")
	}
	if err := checkHeader(string(q.Header), q.Values); err != nil {
		return nil, err
	}
	names := store.Prefix(headerPrefix)
	names.KeysOnly = true
	rows, err := s.store.List(c, names)
	if err != nil {
		return nil, err
	}
	if len(rows) >= maxHeaders && !slices.ContainsFunc(rows, func(e store.Entry) bool { return e.Key == rowKey(q.Header) }) {
		return nil, api.Errorf(api.Invalid, "there are %d headers already", maxHeaders)
	}
	return nil, s.write(c, rowKey(q.Header), &header{http.CanonicalHeaderKey(string(q.Header)), q.Values})
}

// deleteHeader leaves a header out of answers from now on.
func (s *Store) deleteHeader(c *api.Call, q *HeaderName) (*api.None, error) {
	return nil, s.write(c, rowKey(q.Header), nil)
}

// checkHeader refuses what would change how an answer is read, or what others decide.
func checkHeader(name string, values []string) error {
	lower := strings.ToLower(name)
	switch {
	case !token(name):
		return invalid("header: not a header's name", "")
	case strings.HasPrefix(lower, "x-vault-"), strings.HasPrefix(lower, "x-strongroom-"):
		return invalid("X-Vault headers cannot be set", "choose another name")
	case strings.HasPrefix(lower, "access-control-"):
		return invalid("Access-Control headers cannot be set", "use sys/config/cors")
	case reserved(lower):
		return invalid("header: the server itself decides what it says", "choose another header")
	}
	size := 0
	for _, v := range values {
		size += len(v)
		if strings.ContainsFunc(v, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) || strings.TrimSpace(v) != v {
			return invalid("values: hold a control character or begin or end with space", "")
		}
	}
	if size > maxValue {
		return api.Errorf(api.Invalid, "values: longer than %d bytes", maxValue)
	}
	return nil
}

// reserved are the headers that frame an answer, say what it is, or carry
// credentials.
func reserved(lower string) bool {
	return slices.Contains([]string{"alt-svc", "cache-control", "connection", "content-encoding", "content-length", "content-range", "content-type",
		"date", "keep-alive", "location", "proxy-authenticate", "retry-after", "set-cookie", "strict-transport-security", "te", "trailer", "transfer-encoding", "upgrade",
		"vary", "www-authenticate", "x-request-id"}, lower)
}
