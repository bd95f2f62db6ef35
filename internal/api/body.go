package api

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"net/url"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// Limits on a request body's structure; its size is the door's to bound.
const (
	maxDepth   = 64     // nesting of arrays and objects
	maxMembers = 10_000 // members of the top-level object

	// MaxValues is how many values a body may have at all levels, names not counted.
	MaxValues = 50_000
	maxValues = MaxValues
)

// Body is a request's parameters before they are decoded: the members of one
// JSON object, each as the bytes that were sent.
type Body struct {
	raw     []byte
	members []member
}

type member struct {
	name  string
	value jsontext.Value
}

// Errors of ParseBody. They echo nothing of the body.
var (
	errNotObject = &Error{Kind: Invalid, Message: "the request body is not a JSON object"}
	errBadJSON   = &Error{Kind: Invalid, Message: "the request body is not valid JSON"}
	errDuplicate = &Error{Kind: Invalid, Message: "the request body names a member twice"}
	errTooDeep   = &Error{Kind: Invalid, Message: "the request body is nested too deeply", Hint: "at most " + strconv.Itoa(maxDepth) + " levels"}
	errTooMany   = tooMany(maxValues)
	errTooWide   = &Error{Kind: Invalid, Message: "the request body has too many members", Hint: "at most " + strconv.Itoa(maxMembers)}
)

// ParseBody reads a JSON object (RFC 8259) strictly: duplicate member names at
// any level, invalid UTF-8, trailing data and deep nesting are Invalid. The Body
// refers to b, which must not be modified. Empty input and null are an empty body.
func ParseBody(b []byte) (Body, error) { return ParseBodyWithin(b, MaxValues) }

// ParseBodyWithin is ParseBody for a body of fewer values than MaxValues.
func ParseBodyWithin(b []byte, values int) (Body, error) {
	b = bytes.TrimSpace(b)
	if len(b) == 0 || string(b) == "null" {
		return Body{}, nil
	}
	if b[0] != '{' {
		if !jsontext.Value(b).IsValid() {
			return Body{}, errBadJSON
		}
		return Body{}, errNotObject
	}
	if err := checkStructure(b, values); err != nil {
		return Body{}, err
	}
	return parseMembers(b)
}

func parseMembers(b []byte) (Body, error) {
	d := jsontext.NewDecoder(bytes.NewBuffer(b))
	if _, err := d.ReadToken(); err != nil {
		return Body{}, badJSON(err)
	}
	out := Body{raw: b}
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return Body{}, badJSON(err)
		}
		m := member{name: name.String()}
		v, err := d.ReadValue()
		if err != nil {
			return Body{}, badJSON(err)
		}
		end := int(d.InputOffset())
		m.value = jsontext.Value(b[end-len(v) : end : end]) // v itself is the decoder's
		if out.members = append(out.members, m); len(out.members) > maxMembers {
			return Body{}, errTooWide
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return Body{}, badJSON(err)
	}
	if _, err := d.ReadToken(); !errors.Is(err, io.EOF) {
		return Body{}, errBadJSON
	}
	return out, nil
}

func tooMany(most int) *Error {
	return &Error{Kind: Invalid, Message: "the request body has too many values", Hint: "at most " + strconv.Itoa(most)}
}

func badJSON(err error) *Error {
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return errDuplicate
	}
	return errBadJSON
}

// CheckStructure holds a JSON value to the limits of a request's body: Invalid
// when it is nested too deeply or has too many values. It does not say whether b
// is JSON: it counts brackets and commas outside texts, which needs no stack and
// no memory.
func CheckStructure(b []byte) error { return checkStructure(b, MaxValues) }

func checkStructure(b []byte, most int) error {
	depth, values, text := 0, 1, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case text && c == '\\':
			i++
		case c == '"':
			text = !text
		case text:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			depth--
		case c == ',':
			values++
		}
		if depth > maxDepth {
			return errTooDeep
		}
		if values > most {
			return tooMany(most)
		}
	}
	return nil
}

// QueryBody takes a query or form as a body: each parameter a text, the first
// of repeated ones. A parameter that is repeated with another value is Invalid.
func QueryBody(q url.Values) (Body, error) {
	names := make([]string, 0, len(q))
	for k := range q {
		names = append(names, k)
	}
	slices.Sort(names)
	var out Body
	for _, k := range names {
		vs := q[k]
		for _, v := range vs[1:] {
			if v != vs[0] {
				return Body{}, Errorf(Invalid, "a parameter is given twice with different values")
			}
		}
		quoted, err := jsontext.AppendQuote(nil, vs[0])
		if err != nil {
			return Body{}, Errorf(Invalid, "a parameter is not valid UTF-8")
		}
		out.members = append(out.members, member{k, quoted})
	}
	return out, nil
}

// RawBody takes a body that is not JSON as base64 in one member, for endpoints
// that carry files.
func RawBody(name string, b []byte) Body {
	return Body{members: []member{{name, jsontext.Value(strconv.Quote(base64.StdEncoding.EncodeToString(b)))}}}
}

// Get is the value of a member as it was sent, or nil.
func (b Body) Get(name string) jsontext.Value {
	for i := range b.members {
		if b.members[i].name == name {
			return b.members[i].value
		}
	}
	return nil
}

// nulls are the names of the members that are null.
func (b Body) nulls() []string {
	var out []string
	for i := range b.members {
		if b.members[i].value.Kind() == 'n' {
			out = append(out, b.members[i].name)
		}
	}
	return out
}

// Names are the members' names in the order they were sent.
func (b Body) Names() []string {
	out := make([]string, len(b.members))
	for i, m := range b.members {
		out[i] = m.name
	}
	return out
}

// All yields the members as they were sent.
func (b Body) All(yield func(name string, value jsontext.Value) bool) {
	for _, m := range b.members {
		if !yield(m.name, m.value) {
			return
		}
	}
}

// With is the body with one member set to a JSON value.
func (b Body) With(name string, value jsontext.Value) Body {
	out := Body{members: make([]member, 0, len(b.members)+1)}
	for _, m := range b.members {
		if m.name != name {
			out.members = append(out.members, m)
		}
	}
	out.members = append(out.members, member{name, value})
	return out
}

// Len is the number of members.
func (b Body) Len() int { return len(b.members) }

// JSON is the body as a JSON object, which must not be modified.
func (b Body) JSON() []byte {
	if b.raw != nil {
		return b.raw
	}
	return b.AppendJSON(nil)
}

// AppendJSON appends the body as a JSON object to dst.
func (b Body) AppendJSON(dst []byte) []byte {
	if b.raw != nil {
		return append(dst, b.raw...)
	}
	dst = append(dst, '{')
	for i, m := range b.members {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst, _ = jsontext.AppendQuote(dst, m.name) // the name was valid UTF-8 when it was read
		dst = append(dst, ':')
		dst = append(dst, m.value...)
	}
	return append(dst, '}')
}
