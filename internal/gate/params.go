package gate

import (
	"bytes"
	"encoding/json"

	"github.com/strongroom/strongroom/internal/api"
)

// params shows a request's body to the policies.
type params passage

// All yields each member's value, numbers as the request spells them.
func (q *params) All(yield func(string, any) bool) {
	for name, raw := range q.r.Body.All {
		var v any
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		if err := d.Decode(&v); err != nil {
			v = struct{}{} // matches no listed value
		}
		if !yield(name, v) {
			return
		}
	}
}

// OtherNames are the further names that the endpoint knows a member by.
func (q *params) OtherNames(name string) []string {
	if q.match.Endpoint == nil {
		return nil
	}
	return q.match.Endpoint.Request.OtherNames(q.r.Body, name)
}

// OtherValues are the values that the handler takes for the member's.
func (q *params) OtherValues(name string) []string {
	if s, ok := q.req.(api.Synonyms); ok {
		return s.OtherValues(name)
	}
	return nil
}
