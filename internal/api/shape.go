package api

import (
	"reflect"
	"strings"
)

// Shape says how the audit log shows a value: which leaves it hashes. The zero
// Shape hashes every text and leaves numbers, booleans and null as they are.
type Shape struct {
	Hidden bool              // hash every leaf, numbers and booleans too
	Clear  bool              // show as it is
	Fields map[string]*Shape // by JSON name; a field not named here is Hidden
	Elem   *Shape            // of a list's or map's elements
}

func shapeOf(t reflect.Type, depth int) *Shape {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t {
	case typeSecret, typeObject, typeDisclosed:
		return &Shape{Hidden: true}
	case typeTime, typeDuration, typeName:
		return &Shape{Clear: true}
	}
	switch t.Kind() {
	case reflect.Interface:
		return &Shape{Hidden: true}
	case reflect.Slice, reflect.Map:
		return &Shape{Elem: shapeOf(t.Elem(), depth+1)}
	case reflect.Struct:
		if depth > maxNesting {
			return &Shape{Hidden: true}
		}
		return structShape(t, depth)
	}
	return &Shape{}
}

func structShape(t reflect.Type, depth int) *Shape {
	s := &Shape{Fields: map[string]*Shape{}}
	for _, sf := range reflect.VisibleFields(t) {
		o, err := optionsOf(sf)
		if sf.Anonymous || !sf.IsExported() || o.nulls || o.taken {
			continue
		}
		name, _, _ := strings.Cut(sf.Tag.Get("json"), ",")
		if name == "" {
			name = sf.Tag.Get("path")
		}
		fs := shapeOf(sf.Type, depth+1)
		if sf.Tag.Get("audit") == "clear" {
			fs = &Shape{Clear: true}
		}
		if o.whole || err != nil { // an unknown tag is reported by the schema
			return &Shape{Hidden: true}
		}
		s.Fields[name] = fs
	}
	return s
}
