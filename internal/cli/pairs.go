package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"
)

// pairs reads data given as arguments: "key=value"; "key=@file" for the contents
// of a file and "key=\@x" for the text "@x"; "key=-" for all of standard input;
// "@file" and "-" for a JSON object from a file or from standard input. A key
// given again makes a list. No error shows a value.
type pairs struct {
	stdin io.Reader // nil where there is none to read
	data  map[string]any
	ready bool // standard input has been read
	bare  bool // a value read from a file or standard input that is one line loses the line's end
}

// parsePairs reads args into a map, which is never nil.
func parsePairs(stdin io.Reader, args []string) (map[string]any, error) {
	return (&pairs{stdin: stdin, data: map[string]any{}}).parse(args)
}

// parseFor is parsePairs for data of a path. What logs in is one line, and an editor's line end is no part of it:
// kept at a login or at the setting of a password, nobody who types the password gets in.
func parseFor(path string, stdin io.Reader, args []string) (map[string]any, error) {
	return (&pairs{stdin: stdin, data: map[string]any{}, bare: strings.HasPrefix(path, "auth/")}).parse(args)
}

func (p *pairs) parse(args []string) (map[string]any, error) {
	for _, arg := range args {
		if err := p.add(arg); err != nil {
			return nil, usagef("data: %w", err)
		}
	}
	return p.data, nil
}

// parseStringPairs is parseFor for values that must be text.
func parseStringPairs(path string, stdin io.Reader, args []string) (map[string]string, error) {
	data, err := parseFor(path, stdin, args)
	if err != nil {
		return nil, err
	}
	out := make(map[string]string, len(data))
	for k, v := range data {
		switch v := v.(type) {
		case string:
			out[k] = v
		case json.Number, bool:
			out[k] = fmt.Sprint(v)
		default:
			return nil, usagef("data: the value of %q must be a text", k)
		}
	}
	return out, nil
}

func (p *pairs) add(arg string) error {
	key, value, isPair := strings.Cut(arg, "=")
	switch {
	case arg == "":
		return nil
	case isPair && key == "":
		return errors.New("a value has no name before its =")
	case isPair:
		return p.set(key, value)
	case arg == "-":
		return p.object(p.readStdin)
	case strings.HasPrefix(arg, "@"):
		return p.object(func() ([]byte, error) { return os.ReadFile(arg[1:]) })
	}
	return fmt.Errorf("%q is not key=value, @file or -", arg)
}

func (p *pairs) set(key, value string) error {
	text, err := p.value(value)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	if !utf8.ValidString(text) || !utf8.ValidString(key) {
		return notText(fmt.Sprintf("the value of %q", key), value)
	}
	switch old := p.data[key].(type) {
	case nil:
		p.data[key] = text
	case []any:
		p.data[key] = append(old, text)
	default:
		p.data[key] = []any{old, text}
	}
	return nil
}

// notText refuses bytes that JSON cannot carry: sent, each that is not UTF-8 would
// arrive as U+FFFD, and the value be lost. source is how the value was given.
func notText(what, source string) error {
	file, ok := strings.CutPrefix(source, "@")
	if !ok {
		file = "FILE"
	}
	return &exit{
		exitLocal, fmt.Sprintf("Error: data: %s is not UTF-8 text, and would not arrive as it is", what),
		fmt.Sprintf("encode it, and decode it after reading: base64 < %s", file),
	}
}

func (p *pairs) value(v string) (string, error) {
	switch {
	case v == "-":
		raw, err := p.readStdin()
		return p.line(string(raw)), err
	case strings.HasPrefix(v, "@"):
		raw, err := os.ReadFile(v[1:])
		return p.line(string(raw)), err
	case strings.HasPrefix(v, `\@`):
		return v[1:], nil
	}
	return v, nil
}

// line is a text without its line's end, where it is one line and that is wanted.
func (p *pairs) line(text string) string {
	line, rest, _ := strings.Cut(text, "\n")
	if !p.bare || rest != "" {
		return text
	}
	return strings.TrimSuffix(line, "\r")
}

// object merges a JSON object into the data.
func (p *pairs) object(read func() ([]byte, error)) error {
	raw, err := read()
	if err != nil {
		return err
	}
	if !utf8.Valid(raw) {
		return notText("the JSON object", "")
	}
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	// Decoding into a fresh map: a failure must not leave half an object behind.
	var object map[string]any
	if err := d.Decode(&object); err != nil {
		return fmt.Errorf("not a JSON object: %w", withoutValue(err))
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("more than one JSON value")
	}
	for k, v := range object {
		p.data[k] = v
	}
	return nil
}

// withoutValue keeps of a JSON error only what shows nothing of the input.
func withoutValue(err error) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("syntax error at byte %d", syntax.Offset)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("it ends too early")
	}
	return errors.New("wrong type")
}

func (p *pairs) readStdin() ([]byte, error) {
	if p.stdin == nil {
		return nil, errors.New("standard input is not read with -non-interactive")
	}
	if p.ready {
		return nil, errors.New("standard input was read already")
	}
	p.ready = true
	return io.ReadAll(p.stdin)
}
