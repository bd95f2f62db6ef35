package compat

import (
	"fmt"
	"reflect"
)

// bind fills every func field of the struct that face points to with target's method of the same name. Vault's and OpenBao's
// Go clients have the same methods over structs that differ only in their package, so one declaration of the methods (a
// face, in the vocabulary of Vault's client) drives both. A method that one of them lacks leaves its field nil.
func bind(face, target any) {
	f, obj := reflect.ValueOf(face).Elem(), reflect.ValueOf(target)
	for i := range f.NumField() {
		if method := obj.MethodByName(f.Type().Field(i).Name); method.IsValid() {
			f.Field(i).Set(reflect.MakeFunc(f.Field(i).Type(), through(method, f.Field(i).Type())))
		}
	}
}

// through calls method with arguments and results recast between its types and those of the face.
func through(method reflect.Value, face reflect.Type) func([]reflect.Value) []reflect.Value {
	return func(args []reflect.Value) []reflect.Value {
		in := make([]reflect.Value, len(args))
		for i, arg := range args {
			in[i] = recast(arg, method.Type().In(i))
		}
		call := method.Call
		if method.Type().IsVariadic() {
			call = method.CallSlice
		}
		out := call(in)
		for i := range out {
			out[i] = recast(out[i], face.Out(i))
		}
		return out
	}
}

// recast rebuilds v as a value of type to, whose shape must be the same: structs are matched field by field by name.
func recast(v reflect.Value, to reflect.Type) reflect.Value {
	switch {
	case v.Type() == to:
		return v
	case v.Kind() != to.Kind():
		panic(fmt.Sprintf("the clients differ: %v against %v", v.Type(), to))
	case to.Kind() == reflect.Struct:
		return recastStruct(v, to)
	case v.Kind() == reflect.Pointer, v.Kind() == reflect.Map, v.Kind() == reflect.Slice:
		return recastReference(v, to)
	}
	return v.Convert(to)
}

func recastStruct(v reflect.Value, to reflect.Type) reflect.Value {
	out := reflect.New(to).Elem()
	for i := range to.NumField() {
		field := to.Field(i)
		if from := v.FieldByName(field.Name); field.IsExported() && from.IsValid() {
			out.Field(i).Set(recast(from, field.Type))
		}
	}
	return out
}

func recastReference(v reflect.Value, to reflect.Type) reflect.Value {
	if v.IsNil() {
		return reflect.Zero(to)
	}
	switch v.Kind() {
	case reflect.Pointer:
		out := reflect.New(to.Elem())
		out.Elem().Set(recast(v.Elem(), to.Elem()))
		return out
	case reflect.Slice:
		out := reflect.MakeSlice(to, v.Len(), v.Len())
		for i := range v.Len() {
			out.Index(i).Set(recast(v.Index(i), to.Elem()))
		}
		return out
	}
	out := reflect.MakeMapWithSize(to, v.Len())
	for _, key := range v.MapKeys() {
		out.SetMapIndex(key, recast(v.MapIndex(key), to.Elem()))
	}
	return out
}
