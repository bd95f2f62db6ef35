package api

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
)

// options are what a field's api tag says, comma-separated.
type options struct {
	required   bool   // required: its absence is Invalid
	deprecated bool   // deprecated: help says so
	whole      bool   // body: it takes the whole body
	empty      bool   // empty: an empty text is a value of the pointer, and not taken for absent
	nulls      bool   // nulls: it gets the names of explicit nulls
	taken      bool   // aliases: it gets the names of the aliases that were taken
	alias      string // alias=NAME: it is another name of the field NAME
}

func optionsOf(sf reflect.StructField) (options, error) {
	var o options
	tag, ok := sf.Tag.Lookup("api")
	if !ok {
		return o, nil
	}
	for word := range strings.SplitSeq(tag, ",") {
		name, of, isAlias := strings.Cut(word, "=")
		switch {
		case word == "required":
			o.required = true
		case word == "deprecated":
			o.deprecated = true
		case word == "body":
			o.whole = true
		case word == "empty" && sf.Type.Kind() == reflect.Pointer:
			o.empty = true
		case word == "nulls" && sf.Type == typeStrings:
			o.nulls = true
		case word == "aliases" && sf.Type == typeStrings:
			o.taken = true
		case isAlias && name == "alias" && of != "":
			o.alias = of
		default:
			return o, fmt.Errorf("api tag %q is not understood", word)
		}
	}
	return o, nil
}

// link ties the aliases of a type to the fields that they are other names of.
func (s *Schema) link() error {
	for i := range s.Fields {
		f := &s.Fields[i]
		if f.Alias == "" {
			continue
		}
		of := s.byName[f.Alias]
		switch {
		case of == nil || of == f || of.Alias != "":
			return fmt.Errorf("%s: alias of %q, which is no field, or an alias itself", f.Name, f.Alias)
		case of.InPath || f.InPath || of.Whole || f.Whole || f.Required || f.Default != "" || s.nulls != nil:
			return fmt.Errorf("%s: a path, a whole body, a merge patch, a required field and a default have no alias", f.Name)
		case s.typ.FieldByIndex(f.index).Type != s.typ.FieldByIndex(of.index).Type:
			return fmt.Errorf("%s: has another type than %s, whose alias it is", f.Name, of.Name)
		}
		of.aliases = append(of.aliases, f.Name)
	}
	return nil
}

// hasAliases reports whether a field of the type is another's alias.
func (s *Schema) hasAliases() bool {
	return slices.ContainsFunc(s.Fields, func(f Field) bool { return f.Alias != "" })
}

// Synonyms is a request in which different values of a member mean the same: a
// policy's rule about any of them is about each.
type Synonyms interface {
	// OtherValues are the values that mean what the request has for the member of
	// that name, which may be among them.
	OtherValues(name string) []string
}

// OtherNames are the further names under which the endpoint knows the member of
// that name: a rule about any of them is about this member. An alias that is not
// given stands for nothing.
func (s *Schema) OtherNames(body Body, name string) []string {
	f := s.byName[name]
	switch {
	case f == nil:
		return nil
	case f.Alias == "":
		return f.aliases
	case !given(body.Get(name)):
		return nil // it is never taken
	}
	out := []string{f.Alias}
	for _, other := range s.byName[f.Alias].aliases {
		if other != name {
			out = append(out, other)
		}
	}
	return out
}

// given reports whether a member says anything, so that it stands for another
// name or keeps one from standing for it: one that is null or a blank text does
// not. Policies take the same members for absent.
func given(raw jsontext.Value) bool {
	if raw == nil || raw.Kind() == 'n' {
		return false
	}
	if raw.Kind() != '"' {
		return true
	}
	s, err := text(raw)
	return err != nil || strings.ContainsFunc(s, func(r rune) bool { return unicode.IsPrint(r) && !unicode.IsSpace(r) })
}

// source is where a field's value comes from when the path has none, and under
// which name: the body, or the default.
func (f *Field) source(body Body) (raw jsontext.Value, name string) {
	raw = body.Get(f.Name)
	if len(f.aliases) > 0 && !given(raw) {
		for _, alias := range f.aliases {
			if old := body.Get(alias); given(old) {
				return old, alias
			}
		}
	}
	switch {
	case raw != nil && raw.Kind() != 'n':
		return raw, f.Name
	case f.Default != "":
		return quote(f.Default), f.Name
	case raw == nil || f.Required:
		return nil, f.Name
	}
	return f.none(), f.Name
}

// none is what a null stands for: the empty list or map, which typed clients write so, and for any other field nothing.
func (f *Field) none() jsontext.Value {
	switch f.Kind {
	case KindStrings, KindInts:
		return jsontext.Value("[]")
	case KindPairs:
		return jsontext.Value("{}")
	}
	return nil
}
