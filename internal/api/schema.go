package api

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// FieldKind is a field's type on the wire.
type FieldKind uint8

// The kinds of field.
const (
	KindString FieldKind = iota
	KindBool
	KindInt
	KindFloat
	KindDuration // whole seconds
	KindTime     // RFC 3339
	KindStrings  // list; a text is split at commas
	KindInts     // list; a text is split at commas
	KindPairs    // map of text to text; a list or text of k=v is taken too
	KindObject   // free-form JSON object
	KindSecret   // text that is never shown
	KindName     // text with one canonical spelling
	KindAny      // any JSON value
	KindList     // list of any JSON values
	KindMap      // object of any JSON values
	KindStruct   // nested object with fields of its own
	KindStructs  // list of nested objects
	KindByName   // map by name of nested objects
)

var kindTexts = [...]string{"string", "bool", "int", "float", "duration", "time", "list of strings", "list of ints", "key=value pairs", "object", "secret", "name", "any", "list", "object", "object", "list of objects", "objects by name"}

// String is the kind as help spells it.
func (k FieldKind) String() string { return kindTexts[k] }

// Field is one field of a request or response.
type Field struct {
	Name       string
	Kind       FieldKind
	InPath     bool
	Required   bool
	Deprecated bool
	Alias      string // the field that this is another name of; empty: none
	Default    string // as text; empty: the zero value
	Whole      bool   // takes the whole body (a free-form endpoint)
	Doc        string // Go field name, the key of its lifted comment
	Nested     *Schema

	index   []int
	empty   bool // an empty text is a value
	pointer bool
	decode  decoder
	aliases []string // its other names
}

// Schema is what is known of a request or response type.
type Schema struct {
	Name   string // Go type name with its package, the key of its lifted comment
	Fields []Field
	Shape  *Shape // how the audit log shows it

	typ    reflect.Type
	byName map[string]*Field
	whole  *Field
	nulls  []int // index of the field that gets the names of explicit nulls; nil: none
	taken  []int // index of the field that gets the names of the aliases that were taken; nil: none
}

func (s *Schema) field(name string) *Field { return s.byName[name] }

func (s *Schema) isName(param string) bool {
	f := s.byName[param]
	return f != nil && f.Kind == KindName
}

// Knows reports whether the type has a field of that name, or takes any.
func (s *Schema) Knows(name string) bool { return s.whole != nil || s.byName[name] != nil }

var (
	typeDuration  = reflect.TypeFor[Duration]()
	typeTime      = reflect.TypeFor[Time]()
	typeSecret    = reflect.TypeFor[Secret]()
	typeDisclosed = reflect.TypeFor[Disclosed]()
	typeObject    = reflect.TypeFor[Object]()
	typeName      = reflect.TypeFor[Name]()
	typeStrings   = reflect.TypeFor[[]string]()
	typeInts      = reflect.TypeFor[[]int]()
	typePairs     = reflect.TypeFor[map[string]string]()
	typeRaw       = reflect.TypeFor[Raw]()
	typeAuth      = reflect.TypeFor[Auth]()
)

func schemaOf(t reflect.Type) (*Schema, error) { return buildSchema(t, true, 0) }

// responseSchema is nil for None, Raw, Auth, Answer and WrapInfo, which have a
// form of their own.
func responseSchema(t reflect.Type) (*Schema, error) {
	if formOf(t) != Data {
		return nil, nil
	}
	return buildSchema(t, false, 0)
}

const maxNesting = 6

func buildSchema(t reflect.Type, request bool, depth int) (*Schema, error) {
	if depth > maxNesting {
		return nil, fmt.Errorf("%s: nested too deeply", t)
	}
	if t.Kind() != reflect.Struct {
		return &Schema{Name: t.String(), typ: t, Shape: shapeOf(t, depth)}, nil
	}
	s := &Schema{Name: t.String(), typ: t, byName: map[string]*Field{}, Shape: shapeOf(t, depth)}
	for _, sf := range reflect.VisibleFields(t) {
		if sf.Anonymous || !sf.IsExported() {
			continue
		}
		if err := s.add(sf, request, depth); err != nil {
			return nil, fmt.Errorf("%s.%s: %w", t, sf.Name, err)
		}
	}
	if err := s.index(); err != nil {
		return nil, fmt.Errorf("%s: %w", t, err)
	}
	return s, nil
}

// add takes a field of the type in.
func (s *Schema) add(sf reflect.StructField, request bool, depth int) error {
	o, err := optionsOf(sf)
	switch {
	case err != nil:
		return err
	case o.nulls:
		s.nulls = sf.Index
		return nil
	case o.taken:
		s.taken = sf.Index
		return nil
	}
	f, err := fieldOf(sf, o, request, depth)
	if err == nil && f.Name != "-" {
		s.Fields = append(s.Fields, f)
	}
	return err
}

// index makes the fields known by their names.
func (s *Schema) index() error {
	for i := range s.Fields {
		f := &s.Fields[i]
		if s.byName[f.Name] != nil {
			return fmt.Errorf("two fields named %q", f.Name)
		}
		s.byName[f.Name] = f
		if f.Whole {
			s.whole = f
		}
	}
	return s.link()
}

func fieldOf(sf reflect.StructField, o options, request bool, depth int) (Field, error) {
	f := Field{Doc: sf.Name, index: sf.Index, Default: sf.Tag.Get("default"), Required: o.required, Deprecated: o.deprecated, Alias: o.alias, Whole: o.whole, empty: o.empty}
	f.Name, _, _ = strings.Cut(sf.Tag.Get("json"), ",")
	if p := sf.Tag.Get("path"); p != "" {
		f.Name, f.InPath, f.Required = p, true, true
	}
	if f.Name == "" {
		return f, errors.New("has neither a json nor a path tag")
	}
	t := sf.Type
	if t.Kind() == reflect.Pointer {
		f.pointer, t = true, t.Elem()
	}
	var err error
	if f.Kind, f.Nested, err = kindOf(t, request, depth); err != nil {
		return f, err
	}
	if request {
		f.decode = decoderFor(f.Kind, t)
	}
	return f, nil
}

func kindOf(t reflect.Type, request bool, depth int) (FieldKind, *Schema, error) {
	switch t {
	case typeDuration:
		return KindDuration, nil, nil
	case typeTime, reflect.TypeFor[time.Time]():
		return KindTime, nil, nil
	case typeSecret, typeDisclosed:
		return KindSecret, nil, nil
	case typeObject:
		return KindObject, nil, nil
	case typeName:
		return KindName, nil, nil
	case typeStrings:
		return KindStrings, nil, nil
	case typeInts:
		return KindInts, nil, nil
	case typePairs:
		return KindPairs, nil, nil
	}
	switch t.Kind() {
	case reflect.String:
		return KindString, nil, nil
	case reflect.Bool:
		return KindBool, nil, nil
	case reflect.Int, reflect.Int64, reflect.Uint64, reflect.Int32, reflect.Uint32:
		return KindInt, nil, nil
	case reflect.Float64:
		return KindFloat, nil, nil
	case reflect.Interface:
		return KindAny, nil, nil
	case reflect.Struct:
		n, err := buildSchema(t, request, depth+1)
		return KindStruct, n, err
	case reflect.Slice, reflect.Map:
		return kindOfElements(t, request, depth)
	}
	return 0, nil, fmt.Errorf("type %s has no form on the wire", t)
}

func kindOfElements(t reflect.Type, request bool, depth int) (FieldKind, *Schema, error) {
	loose, typed := KindList, KindStructs
	if t.Kind() == reflect.Map {
		loose, typed = KindMap, KindByName
	}
	t = t.Elem()
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || t == typeSecret {
		return loose, nil, nil
	}
	n, err := buildSchema(t, request, depth+1)
	if err == nil && n.hasAliases() {
		err = fmt.Errorf("%s: what is in a list or a map has no aliases", t)
	}
	return typed, n, err
}

// canonicalName is the one spelling of a resource name: lower case under
// simple folding, no surrounding space, nothing unprintable. Letters that fold
// to ASCII from outside it (U+017F, U+212A) are refused, not folded.
func canonicalName(s string) (string, error) {
	if !utf8.ValidString(s) {
		return "", errors.New("is not valid UTF-8")
	}
	if strings.TrimSpace(s) != s {
		return "", errors.New("begins or ends with space")
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return "", errors.New("holds a character that does not print")
		}
		if r > unicode.MaxASCII && foldsToASCII(r) {
			return "", errors.New("holds a letter that stands for another")
		}
	}
	return strings.ToLower(s), nil
}

func foldsToASCII(r rune) bool {
	for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
		if f <= unicode.MaxASCII {
			return true
		}
	}
	l := unicode.ToLower(r)
	return l <= unicode.MaxASCII
}
