package reference

import (
	"strconv"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

// schema is a JSON Schema, as far as declarations need it.
type schema struct {
	Ref         string             `json:"$ref,omitempty"`
	Type        string             `json:"type,omitempty"`
	Format      string             `json:"format,omitempty"`
	Description string             `json:"description,omitempty"`
	Default     any                `json:"default,omitempty"`
	Deprecated  bool               `json:"deprecated,omitempty"`
	Enum        []string           `json:"enum,omitempty"`
	Items       *schema            `json:"items,omitempty"`
	Properties  map[string]*schema `json:"properties,omitempty"`
	Required    []string           `json:"required,omitempty"`
	Additional  *schema            `json:"additionalProperties,omitempty"`
}

// typeOf is the type and format of a kind of field.
func typeOf(k api.FieldKind) (name, format string) {
	switch k {
	case api.KindBool:
		return "boolean", ""
	case api.KindInt:
		return "integer", ""
	case api.KindFloat:
		return "number", "float"
	case api.KindDuration:
		return "integer", "seconds"
	case api.KindTime:
		return "string", "date-time"
	case api.KindSecret:
		return "string", "password"
	case api.KindStrings, api.KindInts, api.KindList, api.KindStructs:
		return "array", ""
	case api.KindPairs:
		return "object", "kvpairs"
	case api.KindObject, api.KindMap, api.KindStruct, api.KindByName:
		return "object", "map"
	case api.KindAny:
		return "", ""
	}
	return "string", ""
}

// schemaOf is a field's schema.
func (c *Comments) schemaOf(of *api.Schema, f *api.Field) *schema {
	s := &schema{Description: c.Field(of, f), Deprecated: f.Deprecated, Default: defaultOf(f)}
	s.Type, s.Format = typeOf(f.Kind)
	switch f.Kind {
	case api.KindStrings:
		s.Items = &schema{Type: "string"}
	case api.KindInts:
		s.Items = &schema{Type: "integer"}
	case api.KindList:
		s.Items = &schema{}
	case api.KindPairs:
		s.Additional = &schema{Type: "string"}
	case api.KindObject, api.KindMap:
		s.Additional = &schema{}
	case api.KindStructs:
		s.Items = c.object(f.Nested, nil)
	case api.KindByName:
		s.Additional = c.object(f.Nested, nil)
	case api.KindStruct:
		n := c.object(f.Nested, nil)
		s.Properties, s.Required, s.Additional = n.Properties, n.Required, n.Additional
	}
	return s
}

// object is the schema of a type's fields that keep holds for; nil keeps all.
func (c *Comments) object(of *api.Schema, keep func(*api.Field) bool) *schema {
	s := &schema{Type: "object", Properties: map[string]*schema{}}
	for i := range of.Fields {
		f := &of.Fields[i]
		switch {
		case keep != nil && !keep(f):
		case f.Whole:
			s.Description, s.Additional = c.Field(of, f), &schema{}
		default:
			s.Properties[f.Name] = c.schemaOf(of, f)
			if f.Required {
				s.Required = append(s.Required, f.Name)
			}
		}
	}
	if len(of.Fields) == 0 {
		s.Additional = &schema{} // a map, or an object of the caller's own
	}
	return s
}

// defaultOf is a field's default in its JSON type; nil when it has none.
func defaultOf(f *api.Field) any {
	if f.Default == "" {
		return nil
	}
	var v any
	var err error
	switch f.Kind {
	case api.KindBool:
		v, err = strconv.ParseBool(f.Default)
	case api.KindInt:
		v, err = strconv.ParseInt(f.Default, 10, 64)
	case api.KindFloat:
		v, err = strconv.ParseFloat(f.Default, 64)
	case api.KindDuration:
		var d time.Duration
		d, err = api.ParseDuration(f.Default)
		v = int64(d / time.Second)
	default:
		return f.Default
	}
	if err != nil {
		return f.Default
	}
	return v
}
