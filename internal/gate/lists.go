package gate

import (
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
	if most <= 0 || (p.r.Op != api.List && p.r.Op != api.Scan) {
		return p.misread
	}
	if !p.match.Endpoint.Request.Knows("limit") {
		return &api.Error{Kind: api.Denied, Message: "permission denied", Hint: "the policy limits pages here, and this list has none"}
	}
	asked := strings.Trim(string(p.r.Body.Get("limit")), `"`)
	if n, err := strconv.Atoi(asked); err == nil && n > 0 && n <= most {
		return p.misread
	}
	var err error
	held := p.r.Body.With("limit", jsontext.Value(strconv.Itoa(most)))
	p.req, p.unknown, err = p.match.Endpoint.Decode(&p.match, held)
	p.misread = err
	return err
}

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

// filter leaves only the keys that the caller may see.
func (p *passage) filter(keys *api.Keys) error {
	if !p.filters() {
		return nil
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
	return nil
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
