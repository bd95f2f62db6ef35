package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/strongroom/strongroom/internal/spelling"
)

// decoder sets dst from a member as it was sent. Its error echoes no value.
type decoder func(raw jsontext.Value, dst reflect.Value) error

// Decode makes the endpoint's typed request from path parameters and a body,
// with the leniency that clients of this wire expect: numbers and booleans as
// texts, texts as numbers, comma lists, durations in several spellings. Absent
// and null members get the declared default; a []string field tagged
// api:"nulls" gets the names of members that are an explicit null, where a merge
// patch must tell them from absent ones. A field tagged api:"alias=NAME" is another
// name of the field NAME: where NAME is absent, null or a blank text, NAME gets
// the alias's value; the alias's own field keeps what was sent under it. A
// pointer tagged api:"empty" is set by an empty text, which otherwise counts as absent. A
// []string field tagged api:"aliases" gets the names of aliases that were taken.
// A path parameter always wins over a
// member of that name. It returns the names of members the request has no
// field for, and Invalid naming the field for a value of the wrong type.
func (e *Endpoint) Decode(m *Match, body Body) (req any, unknown []string, err error) {
	v := reflect.New(e.Request.typ)
	if err := e.Request.decodeInto(v.Elem(), body, m); err != nil {
		return nil, nil, err
	}
	return v.Interface(), e.Request.Unknown(body), nil
}

// Unknown are the names of members that the type has no field for.
func (s *Schema) Unknown(body Body) (names []string) {
	if s.whole != nil {
		return nil
	}
	for i := range body.members {
		if s.byName[body.members[i].name] == nil {
			names = append(names, body.members[i].name)
		}
	}
	return names
}

// Slip is a member of an unknown name, and the field that it was probably to be.
type Slip struct{ Sent, Meant string }

// mostSlips bounds how many unknown names of a request are compared with those that are known.
const mostSlips = 8

// Slips are those of a body's unknown members that are spelled nearly as a field that the body does not have.
func (s *Schema) Slips(body Body) (slips []Slip) {
	unknown := s.Unknown(body)
	if len(unknown) == 0 {
		return nil
	}
	var names []string
	for i := range s.Fields {
		if f := &s.Fields[i]; !f.InPath && body.Get(f.Name) == nil {
			names = append(names, f.Name)
		}
	}
	for _, name := range unknown[:min(len(unknown), mostSlips)] {
		if meant := spelling.Meant(name, names); meant != "" {
			slips = append(slips, Slip{name, meant})
		}
	}
	return slips
}

func (s *Schema) decodeInto(v reflect.Value, body Body, m *Match) error {
	if s.nulls != nil {
		v.FieldByIndex(s.nulls).Set(reflect.ValueOf(body.nulls()))
	}
	var missing error // told where nothing that was sent is wrong
	for i := range s.Fields {
		f := &s.Fields[i]
		if f.Whole {
			v.FieldByIndex(f.index).SetBytes(body.AppendJSON(nil))
			continue
		}
		raw, name := f.source(body)
		if name != f.Name && s.taken != nil {
			taken := v.FieldByIndex(s.taken)
			taken.Set(reflect.Append(taken, reflect.ValueOf(name)))
		}
		if param, ok := m.param(f); ok {
			if f.Kind == KindString || f.Kind == KindName {
				v.FieldByIndex(f.index).SetString(param)
				continue
			}
			raw = quote(param)
		}
		if raw == nil {
			if f.Required && missing == nil {
				missing = &Error{Kind: Invalid, Message: "missing " + f.Name}
			}
			continue
		}
		if err := f.set(v, raw, name); err != nil {
			return err
		}
	}
	return missing
}

// param is the path parameter that fills a field.
func (m *Match) param(f *Field) (string, bool) {
	if m == nil || !f.InPath {
		return "", false
	}
	for i := range m.N {
		if m.Params[i].Name == f.Name {
			return m.Params[i].Value, true
		}
	}
	return "", false
}

// quote is s as JSON text; empty for invalid UTF-8, which doors refuse before.
func quote(s string) jsontext.Value {
	b, err := jsontext.AppendQuote(nil, s)
	if err != nil {
		return jsontext.Value(`""`)
	}
	return b
}

// appendQuote appends s as JSON text; what is not UTF-8 is replaced by U+FFFD.
func appendQuote(dst []byte, s string) []byte {
	out, err := jsontext.AppendQuote(dst, s)
	if err != nil {
		return append(dst, quote(strings.ToValidUTF8(s, "\ufffd"))...)
	}
	return out
}

// set decodes a value that was sent under a name.
func (f *Field) set(v reflect.Value, raw jsontext.Value, name string) error {
	dst := v.FieldByIndex(f.index)
	if f.pointer && !f.empty && f.Kind != KindString && f.Kind != KindStrings && string(raw) == `""` {
		return nil // clients write an optional setting that they leave alone as an empty text; a list they empty so
	}
	if f.pointer {
		dst.Set(reflect.New(dst.Type().Elem()))
		dst = dst.Elem()
	}
	var err error
	if f.Nested != nil {
		err = f.decodeNested(raw, dst)
	} else {
		err = f.decode(raw, dst)
	}
	var typed *Error
	if errors.As(err, &typed) {
		return err
	}
	if err != nil {
		return Errorf(Invalid, "%s: %v", name, err)
	}
	return nil
}

func (f *Field) decodeNested(raw jsontext.Value, dst reflect.Value) error {
	if f.Kind == KindStruct {
		sub, err := ParseBody(raw)
		if err != nil {
			return errors.New("must be an object")
		}
		return f.Nested.decodeInto(dst, sub, nil)
	}
	return unmarshal(raw, dst)
}

func decoderFor(k FieldKind, t reflect.Type) decoder {
	switch k {
	case KindString, KindName:
		return decodeString
	case KindSecret:
		return decodeSecret
	case KindBool:
		return decodeBool
	case KindInt:
		return decodeInt
	case KindFloat:
		return decodeFloat
	case KindDuration:
		return decodeDuration
	case KindTime:
		return decodeTime
	case KindStrings:
		return decodeStrings
	case KindInts:
		return decodeInts
	case KindPairs:
		return decodePairs
	case KindObject:
		return decodeObject
	}
	return unmarshal
}

// text is a scalar as text: a JSON string's content, a number or boolean as written.
func text(raw jsontext.Value) (string, error) {
	switch raw.Kind() {
	case '"':
		b, err := jsontext.AppendUnquote(nil, raw)
		return string(b), err
	case '0', 't', 'f':
		return string(raw), nil
	}
	return "", errors.New("must be a text")
}

func decodeString(raw jsontext.Value, dst reflect.Value) error {
	s, err := text(raw)
	if err != nil {
		return err
	}
	if dst.Type() == typeName {
		if s, err = canonicalName(s); err != nil {
			return err
		}
	}
	dst.SetString(s)
	return nil
}

func decodeSecret(raw jsontext.Value, dst reflect.Value) error {
	s, err := text(raw)
	dst.Set(reflect.ValueOf(NewSecret(s)))
	return err
}

func decodeBool(raw jsontext.Value, dst reflect.Value) error {
	s, err := text(raw)
	if err != nil {
		return errors.New("must be true or false")
	}
	b, err := strconv.ParseBool(strings.TrimSpace(s))
	if err != nil {
		return errors.New("must be true or false")
	}
	dst.SetBool(b)
	return nil
}

func decodeInt(raw jsontext.Value, dst reflect.Value) error {
	errInt := errors.New("must be a whole number")
	s, err := text(raw)
	if err != nil {
		return errInt
	}
	n, err := parseInt(strings.TrimSpace(s))
	if err != nil {
		return errInt
	}
	if dst.CanUint() {
		if n < 0 || dst.OverflowUint(uint64(n)) {
			return errors.New("is out of range")
		}
		dst.SetUint(uint64(n))
		return nil
	}
	if dst.OverflowInt(n) {
		return errors.New("is out of range")
	}
	dst.SetInt(n)
	return nil
}

// parseInt takes whole numbers, also when they are written as 1e3 or 5.0.
func parseInt(s string) (int64, error) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, nil
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
		return 0, errors.New("not a whole number")
	}
	return int64(f), nil
}

func decodeFloat(raw jsontext.Value, dst reflect.Value) error {
	s, err := text(raw)
	if err != nil {
		return errors.New("must be a number")
	}
	f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
		return errors.New("must be a number")
	}
	dst.SetFloat(f)
	return nil
}

func decodeDuration(raw jsontext.Value, dst reflect.Value) error {
	s, err := text(raw)
	if err != nil {
		return errDuration
	}
	d, err := ParseDuration(s)
	dst.SetInt(int64(d))
	return err
}

func decodeTime(raw jsontext.Value, dst reflect.Value) error {
	s, err := text(raw)
	if err != nil || s == "" {
		return err
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if n, perr := strconv.ParseInt(s, 10, 64); perr == nil && 0 < n && n < 1<<38 {
		t, err = time.Unix(n, 0).UTC(), nil
	}
	if err != nil {
		return errors.New("must be a time such as 2006-01-02T15:04:05Z, or seconds since 1970")
	}
	dst.Set(reflect.ValueOf(Time{t}).Convert(dst.Type()))
	return nil
}

// elements are a list's members; a text stands for its comma-separated parts.
func elements(raw jsontext.Value) ([]string, error) {
	if raw.Kind() != '[' {
		s, err := text(raw)
		if err != nil {
			return nil, errors.New("must be a list or a comma-separated text")
		}
		if strings.Count(s, ",") >= maxValues {
			return nil, errTooMany // ParseBody saw one text
		}
		return splitList(s), nil
	}
	var items []jsontext.Value
	if err := json.Unmarshal(raw, &items); err != nil {
		return nil, errors.New("must be a list")
	}
	out := make([]string, 0, len(items))
	for _, it := range items {
		s, err := text(it)
		if err != nil {
			return nil, errors.New("must be a list of texts")
		}
		out = append(out, s)
	}
	return out, nil
}

func splitList(s string) []string {
	out := []string{}
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	if len(out) == 0 && s != "" {
		return []string{""} // something was given, though it names nothing
	}
	return out
}

func decodeStrings(raw jsontext.Value, dst reflect.Value) error {
	items, err := elements(raw)
	if err == nil {
		dst.Set(reflect.ValueOf(items))
	}
	return err
}

func decodeInts(raw jsontext.Value, dst reflect.Value) error {
	items, err := elements(raw)
	if err != nil {
		return err
	}
	out := make([]int, 0, len(items))
	for _, s := range items {
		n, err := parseInt(s)
		if err != nil || n != int64(int(n)) {
			return errors.New("must be a list of whole numbers")
		}
		out = append(out, int(n))
	}
	dst.Set(reflect.ValueOf(out))
	return nil
}

// decodePairs also takes an object that was written as a text, as command lines do: ParseBody holds it to the same limits.
func decodePairs(raw jsontext.Value, dst reflect.Value) error {
	out := map[string]string{}
	if s, err := text(raw); err == nil {
		if object := jsontext.Value(strings.TrimSpace(s)); object.Kind() == '{' && object.IsValid() {
			raw = object
		}
	}
	if raw.Kind() != '{' {
		items, err := elements(raw)
		if err != nil {
			return errors.New("must be an object of texts")
		}
		for _, it := range items {
			k, v, ok := strings.Cut(it, "=")
			if !ok {
				return errors.New("must be an object of texts, or a list of key=value")
			}
			out[k] = v
		}
		dst.Set(reflect.ValueOf(out))
		return nil
	}
	b, err := ParseBody(raw)
	if err != nil {
		return err
	}
	for _, m := range b.members {
		if out[m.name], err = text(m.value); err != nil {
			return errors.New("must be an object of texts")
		}
	}
	dst.Set(reflect.ValueOf(out))
	return nil
}

// decodeObject refers to the body, which nobody modifies: a copy could be as large.
func decodeObject(raw jsontext.Value, dst reflect.Value) error {
	if raw.Kind() != '{' {
		return errors.New("must be an object")
	}
	dst.SetBytes(raw)
	return nil
}

// unmarshal reads what has no leniency of its own.
func unmarshal(raw jsontext.Value, dst reflect.Value) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	if err := d.Decode(dst.Addr().Interface()); err != nil {
		return fmt.Errorf("has the wrong type")
	}
	return nil
}
