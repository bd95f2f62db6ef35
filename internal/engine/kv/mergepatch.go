package kv

import (
	"bytes"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
)

// member is one member of a JSON object, its value as it was written.
type member struct {
	name  string
	value jsontext.Value
}

// splitObject is a JSON object's members in order; nil for any other value.
func splitObject(v jsontext.Value) ([]member, error) {
	if v.Kind() != '{' {
		return nil, nil
	}
	d := jsontext.NewDecoder(bytes.NewReader(v))
	if _, err := d.ReadToken(); err != nil {
		return nil, fmt.Errorf("merge patch: %w", err)
	}
	var out []member
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, fmt.Errorf("merge patch: %w", err)
		}
		m := member{name: name.String()}
		value, err := d.ReadValue()
		if err != nil {
			return nil, fmt.Errorf("merge patch: %w", err)
		}
		m.value = bytes.Clone(value)
		out = append(out, m)
	}
	return out, nil
}

func joinObject(ms []member) jsontext.Value {
	b := []byte{'{'}
	for i, m := range ms {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendQuoted(b, m.name), ':')
		b = append(b, m.value...)
	}
	return append(b, '}')
}

// mergePatch applies a JSON merge patch (RFC 7396): an object changes members, a
// null removes one, anything else takes the target's place. Numbers keep their
// spelling and members their order.
func mergePatch(target, patch jsontext.Value) (jsontext.Value, error) {
	if patch.Kind() != '{' {
		return patch, nil
	}
	into, err := splitObject(target)
	if err != nil {
		return nil, err
	}
	changes, err := splitObject(patch)
	if err != nil {
		return nil, err
	}
	at := make(map[string]int, len(into))
	for i := range into {
		at[into[i].name] = i
	}
	for _, ch := range changes {
		i, ok := at[ch.name]
		switch {
		case ch.value.Kind() == 'n':
			if ok {
				into[i].value = nil
			}
			continue
		case !ok:
			i = len(into)
			into = append(into, member{name: ch.name})
		}
		if into[i].value, err = mergePatch(into[i].value, ch.value); err != nil {
			return nil, err
		}
	}
	return joinObject(dropRemoved(into)), nil
}

// dropRemoved leaves out the members that lost their value.
func dropRemoved(ms []member) []member {
	kept := ms[:0]
	for _, m := range ms {
		if m.value != nil {
			kept = append(kept, m)
		}
	}
	return kept
}
