package gate

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/policy"
)

// limit holds a LIST or SCAN to the page size that the policy allows: an
// absent, zero, negative or larger limit becomes the policy's. It returns what
// is wrong with the request's body, if anything.
func (p *passage) limit() error {
	most := p.decision.PageLimit
	if p.r.Op != api.List && p.r.Op != api.Scan || most <= 0 && !p.filters() {
		return p.misread
	}
	if !p.match.Endpoint.Request.Knows("limit") {
		if most <= 0 {
			return p.misread
		}
		return &api.Error{Kind: api.Denied, Message: "permission denied", Hint: "the policy limits pages here, and this list has none"}
	}
	asked := strings.Trim(string(p.r.Body.Get("limit")), `"`)
	n, err := strconv.Atoi(asked)
	switch {
	case most > 0 && (err != nil || n <= 0 || n > most):
		p.page = most
		p.req, p.unknown, p.misread = p.match.Endpoint.Decode(&p.match, p.r.Body.With("limit", number(most)))
	case err == nil:
		p.page = max(n, 0)
	case asked != "" && asked != "null" && p.misread == nil: // it may be a number to the handler
		return api.Errorf(api.Invalid, "limit: must be a whole number")
	}
	return p.misread
}

func number(n int) jsontext.Value { return jsontext.Value(strconv.Itoa(n)) }

// filters reports whether a list must be filtered: the policies demand it, or the
// request or its mount ask that it hold only what the caller may do something
// with.
func (p *passage) filters() bool {
	return len(p.decision.Filters) > 0 || p.sighted()
}

func (p *passage) sighted() bool {
	listing := p.r.Op == api.List || p.r.Op == api.Scan
	return listing && !p.public() && p.mount != nil && (p.r.Filter || p.mount.Config.FilterLists)
}

// filter leaves only the keys that the caller may see. A page of them is filled
// with those that follow, so that neither its length nor where it ends tells of
// what is left out.
func (p *passage) filter(keys *api.Keys) error {
	if !p.filters() {
		return nil
	}
	last := p.sift(keys)
	for batch := p.page; last != "" && len(keys.Keys) < p.page; {
		batch = min(2*batch, max(p.page, maxBatch))
		more, err := p.following(last, batch)
		if err != nil {
			return err
		}
		before := last
		if last = p.sift(more); last == before {
			break // it does not go on from there
		}
		keys.Keys = append(keys.Keys, more.Keys...)
		if keys.Info == nil {
			keys.Info = more.Info
		}
		maps.Copy(keys.Info, more.Info)
	}
	if p.page > 0 && len(keys.Keys) > p.page {
		for _, k := range keys.Keys[p.page:] {
			delete(keys.Info, k)
		}
		keys.Keys = keys.Keys[:p.page]
	}
	return nil
}

// maxBatch is how many names are read at once to fill a page, if the page itself
// is no longer.
const maxBatch = 4096

// sift leaves only the keys that the caller may see, and returns the last of all;
// empty when there is none.
func (p *passage) sift(keys *api.Keys) (last string) {
	if n := len(keys.Keys); n > 0 {
		last = keys.Keys[n-1]
	}
	sees := p.sight(keys)
	kept := keys.Keys[:0]
	for _, k := range keys.Keys {
		if p.visible(k) && sees(k) {
			kept = append(kept, k)
		} else {
			delete(keys.Info, k)
		}
	}
	keys.Keys = kept
	return last
}

// following are the keys that the list has behind one; none where it cannot go on.
func (p *passage) following(last string, most int) (*api.Keys, error) {
	e := p.match.Endpoint
	if !e.Request.Knows("after") {
		return &api.Keys{}, nil
	}
	after, err := jsontext.AppendQuote(nil, last)
	if err != nil {
		return &api.Keys{}, nil
	}
	req, _, err := e.Decode(&p.match, p.r.Body.With("limit", number(most)).With("after", after))
	if err != nil {
		return nil, err
	}
	result, err := e.Invoke(&p.call, req)
	if keys, ok := result.(*api.Keys); ok && err == nil {
		return keys, nil
	}
	if api.KindOf(err) == api.NotFound {
		err = nil
	}
	return &api.Keys{}, err
}

// sight tells which keys the caller may do something with, in the listed
// directory or one beside it.
func (p *passage) sight(keys *api.Keys) func(key string) bool {
	if !p.sighted() {
		return func(string) bool { return true }
	}
	type place struct {
		dir   string
		sight *policy.Sight
	}
	var places []place
	for _, dir := range append([]string{strings.TrimPrefix(p.path, p.mount.Path)}, keys.Beside...) {
		if dir = strings.Trim(dir, "/"); dir != "" {
			dir += "/"
		}
		dir = p.judged(p.mount.Path + dir)
		places = append(places, place{dir, p.acl.Sight(policy.Request{Path: dir, Now: p.call.Now, Facts: p.facts})})
	}
	return func(key string) bool {
		return slices.ContainsFunc(places, func(at place) bool { return at.sight.Sees(at.dir + key) })
	}
}

// visible reports whether the policy's filters let the caller see a key.
func (p *passage) visible(key string) bool {
	dir := p.judged(strings.TrimSuffix(p.path, "/") + "/")
	for _, f := range p.decision.Filters {
		path, err := policy.Canonical(expandFilter(f, dir, key))
		if err != nil {
			return false
		}
		verb := policy.Read
		if strings.HasSuffix(path, "/") {
			verb = policy.List
		}
		if !p.acl.Decide(policy.Request{Path: path, Op: verb, Now: p.call.Now, Facts: p.facts}).Allowed {
			return false
		}
	}
	return true
}

// expandFilter fills {{ .path }} and {{ .key }} in; anything else in braces
// stays, and such a path matches no rule.
func expandFilter(f, dir, key string) string {
	var b strings.Builder
	for {
		before, after, ok := strings.Cut(f, "{{")
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		name, rest, _ := strings.Cut(after, "}}")
		switch strings.TrimSpace(name) {
		case ".path":
			b.WriteString(dir)
		case ".key":
			b.WriteString(key)
		default:
			b.WriteString("{{" + name + "}}")
		}
		f = rest
	}
}
