package policy

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// jsonReader keeps the place in the source, which encoding/json's own decoding
// into values would lose, and with it repeated keys.
type jsonReader struct {
	src  string
	dec  *json.Decoder
	at   int // bytes whose lines have been counted
	line int
}

var errDepth = errors.New("too deep")

func readJSON(src string) (node, *Fault) {
	r := &jsonReader{src: src, dec: json.NewDecoder(strings.NewReader(src)), line: 1}
	r.dec.UseNumber()
	n, err := r.value(0)
	if err == nil {
		_, err = r.dec.Token()
		if err == io.EOF {
			return n, nil
		}
	}
	if errors.Is(err, errDepth) {
		return node{}, tooDeep(r.here())
	}
	return node{}, &Fault{r.here(), "this is not valid JSON", "check for a missing quote, comma or brace near this line"}
}

// here is the line that the decoder has come to.
func (r *jsonReader) here() int {
	end := min(int(r.dec.InputOffset()), len(r.src))
	if end > r.at {
		r.line += strings.Count(r.src[r.at:end], "\n")
		r.at = end
	}
	return r.line
}

func (r *jsonReader) value(depth int) (node, error) {
	if depth > maxDepth {
		return node{}, errDepth
	}
	tok, err := r.dec.Token()
	if err != nil {
		return node{}, err
	}
	n := node{line: r.here()}
	switch t := tok.(type) {
	case string:
		n.kind, n.text = word, t
	case json.Number:
		n.kind, n.text = number, t.String()
	case bool:
		n.kind, n.text = boolean, "false"
		if t {
			n.text = "true"
		}
	case nil:
		n.kind = null
	case json.Delim:
		if t == '{' {
			n.kind = block
			return n, r.fields(&n, depth)
		}
		n.kind = list
		return n, r.elements(&n, depth)
	}
	return n, nil
}

func (r *jsonReader) fields(n *node, depth int) error {
	for r.dec.More() {
		tok, err := r.dec.Token()
		if err != nil {
			return err
		}
		key, _ := tok.(string) // the decoder lets nothing else be a key
		line := r.here()
		val, err := r.value(depth + 1)
		if err != nil {
			return err
		}
		n.fields = append(n.fields, field{key, line, val})
	}
	_, err := r.dec.Token()
	return err
}

func (r *jsonReader) elements(n *node, depth int) error {
	for r.dec.More() {
		item, err := r.value(depth + 1)
		if err != nil {
			return err
		}
		n.items = append(n.items, item)
	}
	_, err := r.dec.Token()
	return err
}
