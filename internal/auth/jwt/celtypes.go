package jwt

import (
	"fmt"
	"reflect"
	"slices"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/strongroom/strongroom/internal/api"
)

// The types that a program can make, by the names that OpenBao's programs know them by.
const (
	kindAuth  = "pb.Auth"
	kindLease = "pb.LeaseOptions"
	kindAlias = "logical.Alias"
)

// fieldsOf are the fields of a type that a program can make; nil for another type. What
// the server alone says of a token is not among them.
func fieldsOf(kind string) map[string]*cel.Type {
	texts, pairs := cel.ListType(cel.StringType), cel.MapType(cel.StringType, cel.StringType)
	switch kind {
	case kindAuth:
		return map[string]*cel.Type{"policies": texts, "token_policies": texts, "display_name": cel.StringType, "metadata": pairs, "bound_cidrs": texts,
			"num_uses": cel.IntType, "no_default_policy": cel.BoolType, "period": cel.DynType, "explicit_max_ttl": cel.DynType,
			"lease_options": cel.ObjectType(kindLease), "alias": cel.ObjectType(kindAlias), "group_aliases": cel.ListType(cel.ObjectType(kindAlias))}
	case kindLease:
		return map[string]*cel.Type{"TTL": cel.DynType, "MaxTTL": cel.DynType, "renewable": cel.BoolType}
	case kindAlias:
		return map[string]*cel.Type{"name": cel.StringType, "metadata": pairs}
	}
	return nil
}

// grants tells CEL of these types.
type grants struct{ *types.Registry }

// FindStructType finds a type by its name.
func (g *grants) FindStructType(name string) (*types.Type, bool) {
	if fieldsOf(name) != nil {
		return types.NewTypeTypeWithParam(cel.ObjectType(name)), true
	}
	return g.Registry.FindStructType(name)
}

// FindStructFieldNames finds the names of a type's fields.
func (g *grants) FindStructFieldNames(name string) ([]string, bool) {
	fields := fieldsOf(name)
	if fields == nil {
		return g.Registry.FindStructFieldNames(name)
	}
	var names []string
	for f := range fields {
		names = append(names, f)
	}
	slices.Sort(names)
	return names, true
}

// FindStructFieldType finds the type of a field.
func (g *grants) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	fields := fieldsOf(name)
	if fields == nil {
		return g.Registry.FindStructFieldType(name, field)
	}
	t := fields[field]
	return &types.FieldType{Type: t, IsSet: func(any) bool { return false }, GetFrom: func(any) (any, error) { return nil, wrong("cannot be read") }}, t != nil
}

// NewValue makes a value of a type.
func (g *grants) NewValue(name string, fields map[string]ref.Val) ref.Val {
	known := fieldsOf(name)
	if known == nil {
		return g.Registry.NewValue(name, fields)
	}
	for f := range fields {
		if known[f] == nil {
			return types.NewErr("no such field")
		}
	}
	return &built{kind: name, fields: fields}
}

// built is a value that a program has made. A program can give it and nothing else.
type built struct {
	kind   string
	fields map[string]ref.Val
}

// ConvertToNative is not possible.
func (b *built) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("jwt: %s cannot be made a %s", b.kind, t)
}

// ConvertToType is not possible.
func (b *built) ConvertToType(ref.Type) ref.Val { return types.NewErr("no such conversion") }

// Equal is whether it is the same value.
func (b *built) Equal(other ref.Val) ref.Val {
	o, ok := other.(*built)
	return types.Bool(ok && o == b)
}

// Type is its type.
func (b *built) Type() ref.Type { return cel.ObjectType(b.kind) }

// Value is the value itself.
func (b *built) Value() any { return b }

// given is what a program gives for "yes".
type given struct {
	name          string // to call the login by; empty: the alias
	alias         string // who it is; empty: nobody in particular
	aliasMetadata map[string]string
	groups        []string
	metadata      map[string]string
	terms         api.TokenTerms
}

// given reads the fields of pb.Auth.
func (b *built) given() (*given, error) {
	g := &given{}
	r := reader{b, nil}
	g.terms.Policies = slices.Concat(r.texts("policies"), r.texts("token_policies"))
	g.terms.BoundCIDRs = r.texts("bound_cidrs")
	g.terms.NumUses = int(r.number("num_uses"))
	g.terms.NoDefaultPolicy = r.truth("no_default_policy")
	g.terms.Period = r.span("period")
	g.terms.ExplicitMaxTTL = r.span("explicit_max_ttl")
	g.name, g.metadata = r.text("display_name"), r.pairs("metadata")
	if lease := r.inner("lease_options", kindLease); lease != nil {
		in := reader{lease, nil}
		g.terms.TTL, g.terms.MaxTTL = in.span("TTL"), in.span("MaxTTL")
		r.note(in.failed)
	}
	if alias := r.inner("alias", kindAlias); alias != nil {
		in := reader{alias, nil}
		g.alias, g.aliasMetadata = in.text("name"), in.pairs("metadata")
		if r.note(in.failed); g.alias == "" {
			r.note(wrong("an alias has no name"))
		}
	}
	for _, v := range r.list("group_aliases") {
		group, ok := v.(*built)
		if !ok || group.kind != kindAlias {
			return nil, wrong("a group is no alias")
		}
		in := reader{group, nil}
		g.groups = append(g.groups, in.text("name"))
		r.note(in.failed)
	}
	return g, r.failed
}

// reader takes the fields of a value, and notes the first that is not as it should be.
type reader struct {
	*built
	failed error
}

func (r *reader) note(err error) {
	if r.failed == nil {
		r.failed = err
	}
}

// value is a field as a T; the zero T when it is absent.
func value[T any](r *reader, name string) (out T) {
	v, ok := r.fields[name]
	if !ok {
		return out
	}
	out, ok = v.Value().(T)
	if !ok {
		r.note(wrong("%s is of another type", name))
	}
	return out
}

func (r *reader) text(name string) string  { return value[string](r, name) }
func (r *reader) truth(name string) bool   { return value[bool](r, name) }
func (r *reader) number(name string) int64 { return value[int64](r, name) }

// span is a duration, or as many nanoseconds.
func (r *reader) span(name string) time.Duration {
	v, ok := r.fields[name]
	if !ok {
		return 0
	}
	switch v := v.Value().(type) {
	case time.Duration:
		return v
	case int64:
		return time.Duration(v)
	}
	r.note(wrong("%s is no duration", name))
	return 0
}

func (r *reader) inner(name, kind string) *built {
	v, ok := r.fields[name]
	if !ok {
		return nil
	}
	b, ok := v.(*built)
	if !ok || b.kind != kind {
		r.note(wrong("%s is of another type", name))
		return nil
	}
	return b
}

// list is a field's members, as CEL has them.
func (r *reader) list(name string) []ref.Val {
	v, ok := r.fields[name]
	if !ok {
		return nil
	}
	l, ok := v.(interface {
		Get(ref.Val) ref.Val
		Size() ref.Val
	})
	if !ok {
		r.note(wrong("%s is no list", name))
		return nil
	}
	size, ok := l.Size().Value().(int64)
	if !ok || size > maxGroups {
		r.note(wrong("%s is too long", name))
		return nil
	}
	out := make([]ref.Val, size)
	for i := range out {
		out[i] = l.Get(types.Int(i))
	}
	return out
}

func (r *reader) texts(name string) []string {
	var out []string
	for _, v := range r.list(name) {
		s, ok := v.Value().(string)
		if !ok {
			r.note(wrong("%s has what is no text", name))
			return nil
		}
		out = append(out, s)
	}
	return out
}

func (r *reader) pairs(name string) map[string]string {
	v, ok := r.fields[name]
	if !ok {
		return nil
	}
	native, err := v.ConvertToNative(reflect.TypeFor[map[string]string]())
	out, ok := native.(map[string]string)
	if err != nil || !ok || len(out) > maxList {
		r.note(wrong("%s is no map of texts", name))
		return nil
	}
	for k, v := range out {
		if len(k) > maxName || len(v) > maxMetadata {
			r.note(wrong("%s has what is too long", name))
		}
	}
	return out
}
