package audit

import (
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/strongroom/strongroom/internal/api"
)

// maxDepth is how deep a value may be nested before it is hashed as a whole.
const maxDepth = 100

// AppendRedacted appends to dst what may be shown of a JSON value: one line of
// JSON in which every text is replaced by its hash, and where shape is Hidden
// every number and boolean too, by its text. A Clear shape shows its value as it
// is. A member that shape does not name is Hidden, and so is a value that is
// not of the kind shape speaks of; a nil shape is Hidden. Names of members and
// null are shown. A value that is not valid JSON (RFC 8259, UTF-8) is replaced
// by one hash of all its bytes, and one that would show more than 512 hashes or
// 64 KiB by {"elided":hash of all its bytes}.
//
// hash appends the hash of a value to dst; it needs no quoting in JSON.
func AppendRedacted(dst, json []byte, shape *api.Shape, hash func(dst, value []byte) []byte) []byte {
	return appendRedacted(dst, json, shape, hash, fullLimits, false)
}

// appendRedacted with elide shows, of a list's answer, only how many keys there are.
func appendRedacted(dst, json []byte, shape *api.Shape, hash func(dst, value []byte) []byte, limit limits, elide bool) []byte {
	if shape == nil {
		shape = hiddenShape
	}
	w := walker{in: json, out: dst, start: len(dst), hash: hash, limit: limit, elide: elide}
	if _, ok := w.value(shape, 0); ok && w.ended() && w.fits() {
		return w.out
	}
	return w.whole()
}

var hiddenShape = &api.Shape{Hidden: true}

// walker reads a JSON value and writes what may be shown. Its methods report
// whether what they read was valid.
type walker struct {
	in    []byte
	pos   int
	out   []byte
	start int // where the value begins in out
	hash  func(dst, value []byte) []byte
	text  []byte // the last text that had escapes, without them
	elide bool

	limit    limits
	leaves   int  // hashes written
	over     bool // a limit was passed
	counting bool // inside a list of which only the length is shown
}

func (w *walker) space() {
	for w.pos < len(w.in) {
		switch w.in[w.pos] {
		case ' ', '\t', '\n', '\r':
			w.pos++
		default:
			return
		}
	}
}

// peek is the next byte that is not space; 0 at the end.
func (w *walker) peek() byte {
	w.space()
	if w.pos == len(w.in) {
		return 0
	}
	return w.in[w.pos]
}

func (w *walker) ended() bool { return w.peek() == 0 && w.pos == len(w.in) }

func (w *walker) hashed(value []byte) {
	w.out = append(w.out, '"')
	w.out = w.hash(w.out, value)
	w.out = append(w.out, '"')
}

// value reads one value; n is how many elements it has.
func (w *walker) value(s *api.Shape, depth int) (n int, ok bool) {
	if depth > maxDepth {
		return 0, false
	}
	switch c := w.peek(); c {
	case '{':
		return w.object(s, depth)
	case '[':
		return w.array(s, depth)
	case '"':
		return 0, w.textValue(s)
	case 't':
		return 0, w.literal("true", hidesScalars(s))
	case 'f':
		return 0, w.literal("false", hidesScalars(s))
	case 'n':
		return 0, w.literal("null", false)
	}
	return 0, w.number(hidesScalars(s))
}

// hidesScalars reports whether numbers and booleans are hashed. A shape of an
// object or list that meets one does not know it, so it hides it.
func hidesScalars(s *api.Shape) bool {
	return s.Hidden || !s.Clear && (s.Fields != nil || s.Elem != nil)
}

func memberShape(s *api.Shape, name []byte) *api.Shape {
	if s.Hidden || s.Clear {
		return s
	}
	if s.Fields == nil {
		return elementShape(s)
	}
	if f := s.Fields[string(name)]; f != nil {
		return f
	}
	return hiddenShape
}

func elementShape(s *api.Shape) *api.Shape {
	switch {
	case s.Hidden || s.Clear:
		return s
	case s.Elem != nil:
		return s.Elem
	}
	return hiddenShape
}

func (w *walker) object(s *api.Shape, depth int) (n int, ok bool) {
	w.pos++
	w.out = append(w.out, '{')
	if w.peek() == '}' {
		return 0, w.close('}')
	}
	for {
		if !w.member(s, depth) {
			return n, false
		}
		n++
		if more, ok := w.next('}'); !more {
			return n, ok
		}
	}
}

func (w *walker) member(s *api.Shape, depth int) bool {
	if w.peek() != '"' {
		return false
	}
	raw, name, ok := w.scanText()
	if !ok {
		return false
	}
	counted := w.elide && depth == 0 && (string(name) == "keys" || string(name) == "key_info")
	s = memberShape(s, name)
	w.show(raw, name)
	if w.peek() != ':' {
		return false
	}
	w.pos++
	w.out = append(w.out, ':')
	start, list := len(w.out), w.peek() == '[' || w.peek() == '{'
	w.counting = w.counting || counted && list
	n, ok := w.value(s, depth+1)
	if ok && counted && list {
		w.counting = false
		w.out = strconv.AppendInt(w.out[:start], int64(n), 10)
	}
	return ok
}

func (w *walker) array(s *api.Shape, depth int) (n int, ok bool) {
	w.pos++
	w.out = append(w.out, '[')
	if w.peek() == ']' {
		return 0, w.close(']')
	}
	s = elementShape(s)
	for {
		if _, ok := w.value(s, depth+1); !ok {
			return n, false
		}
		n++
		if more, ok := w.next(']'); !more {
			return n, ok
		}
	}
}

// next reads a comma or the closing bracket.
func (w *walker) next(end byte) (more, ok bool) {
	switch w.peek() {
	case ',':
		w.pos++
		w.out = append(w.out, ',')
		ok = w.fits()
		return ok, ok
	case end:
		return false, w.close(end)
	}
	return false, false
}

func (w *walker) close(end byte) bool {
	w.pos++
	w.out = append(w.out, end)
	return true
}

func (w *walker) textValue(s *api.Shape) bool {
	raw, text, ok := w.scanText()
	switch {
	case !ok:
		return false
	case s.Clear && !s.Hidden:
		w.show(raw, text)
	default:
		return w.leaf(text)
	}
	return true
}

// show writes a text in its shortest spelling.
func (w *walker) show(raw, text []byte) {
	if len(raw) == len(text)+2 {
		w.out = append(w.out, raw...)
		return
	}
	w.out = appendText(w.out, text)
}

// scanText reads a text: as it was written, and what it says. The latter is
// valid until the next call.
func (w *walker) scanText() (raw, text []byte, ok bool) {
	start, escaped, ascii := w.pos, false, true
	for i := start + 1; i < len(w.in); i++ {
		switch c := w.in[i]; {
		case c == '\\':
			escaped = true
			i++
		case c == '"':
			w.pos = i + 1
			raw = w.in[start:w.pos]
			if escaped {
				var err error
				w.text, err = jsontext.AppendUnquote(w.text[:0], raw)
				return raw, w.text, err == nil
			}
			text = raw[1 : len(raw)-1]
			return raw, text, ascii || utf8.Valid(text)
		case c < ' ':
			return nil, nil, false
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	return nil, nil, false
}

func (w *walker) literal(word string, hide bool) bool {
	end := w.pos + len(word)
	if end > len(w.in) || string(w.in[w.pos:end]) != word {
		return false
	}
	return w.scalar(end, hide)
}

// number reads -?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?
func (w *walker) number(hide bool) bool {
	i := w.pos
	if i < len(w.in) && w.in[i] == '-' {
		i++
	}
	first := i
	if i = w.digits(i); i == first || i > first+1 && w.in[first] == '0' {
		return false
	}
	if i < len(w.in) && w.in[i] == '.' {
		dot := i + 1
		if i = w.digits(dot); i == dot {
			return false
		}
	}
	if i < len(w.in) && w.in[i]|0x20 == 'e' {
		i++
		if i < len(w.in) && (w.in[i] == '+' || w.in[i] == '-') {
			i++
		}
		exp := i
		if i = w.digits(exp); i == exp {
			return false
		}
	}
	return w.scalar(i, hide)
}

func (w *walker) digits(i int) int {
	for i < len(w.in) && w.in[i] >= '0' && w.in[i] <= '9' {
		i++
	}
	return i
}

func (w *walker) scalar(end int, hide bool) bool {
	v := w.in[w.pos:end]
	w.pos = end
	if hide {
		return w.leaf(v)
	}
	w.out = append(w.out, v...)
	return true
}

// appendText appends s as a JSON text. What is not UTF-8 shows as U+FFFD.
func appendText[T string | []byte](dst []byte, s T) []byte {
	dst, err := jsontext.AppendQuote(dst, s)
	if err != nil {
		return dst // the text is whole: the error only tells of the U+FFFD
	}
	return dst
}
