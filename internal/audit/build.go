package audit

import (
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/api"
)

// format is one way of building an entry; sinks of equal format share bytes.
type format struct {
	key          *Key
	prefix       string // before each entry
	showAccessor bool   // hmac_accessor=false
	elide        bool   // elide_list_responses=true
	raw          bool   // log_raw=true
}

func (f format) equal(o format) bool {
	return f.key.bytes == o.key.bytes && f.prefix == o.prefix && f.showAccessor == o.showAccessor && f.elide == o.elide && f.raw == o.raw
}

// header is one request header that entries show.
type header struct {
	name   string // lower case, as entries spell it
	key    string // as http.Header spells it
	hashed bool
}

// builder appends one entry to out.
type builder struct {
	out     []byte
	format  format
	mac     *mac
	limit   limits
	headers []header

	last                 int  // where the last named value begins
	token, tokenAccessor span // the caller's, as auth shows them
}

// span is a value that is already in a builder's out.
type span struct{ from, to int }

func (b *builder) name(n string) {
	if b.out[len(b.out)-1] != '{' {
		b.out = append(b.out, ',')
	}
	b.out = append(b.out, '"')
	b.out = append(b.out, n...)
	b.out = append(b.out, '"', ':')
	b.last = len(b.out)
}

// again writes a value that is in out already.
func (b *builder) again(n string, v span) {
	b.name(n)
	b.out = append(b.out, b.out[v.from:v.to]...)
}

func (b *builder) open(n string) {
	b.name(n)
	b.out = append(b.out, '{')
}

func (b *builder) end() { b.out = append(b.out, '}') }

func (b *builder) text(n, v string) {
	if v == "" {
		return
	}
	b.name(n)
	b.out = appendText(b.out, v)
	if len(b.out)-b.last > maxText {
		b.out = b.out[:b.last]
		b.hashed(v)
	}
}

// hash shows the hash of a text, or the text itself in a raw log.
func (b *builder) hash(n, v string) {
	if v != "" {
		b.name(n)
		b.hashValue(v)
	}
}

func (b *builder) hashValue(v string) {
	if b.format.raw && len(v) <= maxRaw {
		b.out = appendText(b.out, v)
		return
	}
	b.hashed(v)
}

func (b *builder) hashed(v string) {
	b.out = append(b.out, '"')
	b.out = b.mac.appendText(b.out, v)
	b.out = append(b.out, '"')
}

func (b *builder) accessor(n, v string) {
	if b.format.showAccessor {
		b.text(n, v)
		return
	}
	b.hash(n, v)
}

func (b *builder) integer(n string, v int64) {
	if v != 0 {
		b.name(n)
		b.out = strconv.AppendInt(b.out, v, 10)
	}
}

func (b *builder) seconds(n string, d time.Duration) { b.integer(n, int64(d/time.Second)) }

func (b *builder) boolean(n string, v bool) {
	b.name(n)
	b.out = strconv.AppendBool(b.out, v)
}

func (b *builder) time(n string, t time.Time, layout string) {
	if !t.IsZero() {
		b.name(n)
		b.out = append(b.out, '"')
		b.out = t.UTC().AppendFormat(b.out, layout)
		b.out = append(b.out, '"')
	}
}

func (b *builder) texts(n string, vs []string) {
	if len(vs) == 0 {
		return
	}
	b.name(n)
	for i, v := range vs {
		b.out = append(b.out, "[,"[min(i, 1)])
		b.out = appendText(b.out, v)
	}
	b.out = append(b.out, ']')
	b.elide(b.last, `["`, `"]`)
}

func (b *builder) pairs(n string, vs map[string]string) {
	if len(vs) == 0 {
		return
	}
	b.open(n)
	for i, k := range slices.Sorted(maps.Keys(vs)) {
		if i > 0 {
			b.out = append(b.out, ',')
		}
		b.out = appendText(b.out, k)
		b.out = append(b.out, ':')
		b.out = appendText(b.out, vs[k])
	}
	b.end()
	b.elide(b.last, `{"elided":"`, `"}`)
}

// data shows a JSON body; nothing for an empty one.
func (b *builder) data(json []byte, shape *api.Shape, elide bool) {
	if len(json) == 0 {
		return
	}
	b.name("data")
	if b.format.raw {
		shape = clearShape
	}
	b.out = appendRedacted(b.out, json, shape, b.mac.fn, b.limit, elide && b.format.elide)
}

var clearShape = &api.Shape{Clear: true}

func (b *builder) auth(a *Auth) {
	b.open("auth")
	b.hash("client_token", a.ClientToken.Reveal())
	b.token = span{b.last, len(b.out)}
	b.accessor("accessor", a.Accessor)
	b.tokenAccessor = span{b.last, len(b.out)}
	b.text("display_name", a.DisplayName)
	b.texts("policies", a.Policies)
	b.texts("token_policies", a.TokenPolicies)
	b.texts("identity_policies", a.IdentityPolicies)
	if a.Judged {
		b.verdict(a)
	}
	b.pairs("metadata", a.Metadata)
	b.integer("num_uses", int64(a.NumUses))
	b.integer("remaining_uses", int64(a.RemainingUses))
	b.text("entity_id", a.EntityID)
	b.text("token_type", tokenType(a.TokenType))
	b.seconds("token_ttl", a.TTL)
	b.time("token_issue_time", a.IssueTime, time.RFC3339)
	b.end()
}

func tokenType(t string) string {
	if t == "" {
		return "default"
	}
	return t
}

func (b *builder) verdict(a *Auth) {
	b.open("policy_results")
	b.boolean("allowed", a.Allowed)
	start := 0
	for i := range a.Granting {
		g := &a.Granting[i]
		if i == 0 {
			b.name("granting_policies")
			start = b.last
		}
		b.out = append(b.out, "[,"[min(i, 1)], '{')
		b.text("name", g.Name)
		b.text("namespace_id", g.Namespace.ID)
		b.text("namespace_path", g.Namespace.Path)
		if g.Type == "" {
			b.text("type", "acl")
		} else {
			b.text("type", g.Type)
		}
		b.end()
	}
	if len(a.Granting) > 0 {
		b.out = append(b.out, ']')
		b.elide(start, `[{"elided":"`, `"}]`)
	}
	b.end()
}

// login shows the identity that a login or token creation has made.
func (b *builder) login(a *api.Auth) {
	b.open("auth")
	b.hash("client_token", a.ClientToken.Reveal())
	b.accessor("accessor", a.Accessor)
	b.text("display_name", a.DisplayName)
	b.texts("policies", a.Policies)
	b.texts("token_policies", a.TokenPolicies)
	b.texts("identity_policies", a.IdentityPolicies)
	if a.NoDefaultPolicy {
		b.boolean("no_default_policy", true)
	}
	b.pairs("metadata", a.Metadata)
	b.integer("num_uses", int64(a.NumUses))
	b.text("entity_id", a.EntityID)
	b.text("token_type", tokenType(a.TokenType))
	b.seconds("token_ttl", a.TTL)
	if a.Reused {
		b.boolean("reused", true)
	}
	b.end()
}

func (b *builder) request(e *Entry) {
	r := &e.Request
	b.open("request")
	b.text("id", r.ID)
	b.text("client_id", r.ClientID)
	b.text("operation", r.Operation)
	b.mount(&r.Mount)
	if !e.Auth.ClientToken.Empty() {
		b.again("client_token", b.token)
	}
	if e.Auth.Accessor != "" {
		b.again("client_token_accessor", b.tokenAccessor)
	}
	b.open("namespace")
	b.text("id", r.Namespace.ID)
	b.text("path", r.Namespace.Path)
	b.end()
	b.text("path", r.Path)
	b.data(r.Data, r.Shape, false)
	b.remote(r.Remote)
	b.seconds("wrap_ttl", r.WrapTTL)
	b.requestHeaders(r)
	b.text("client_certificate_serial_number", r.CertSerial)
	b.end()
}

func (b *builder) mount(m *api.Mount) {
	if m.Path == "" {
		return
	}
	b.text("mount_point", m.Path)
	b.text("mount_type", m.Type)
	b.text("mount_accessor", m.Accessor)
	if strings.HasPrefix(m.Path, "auth/") {
		b.text("mount_class", "auth")
	} else {
		b.text("mount_class", "secret")
	}
}

func (b *builder) remote(a netip.AddrPort) {
	if !a.IsValid() {
		return
	}
	b.name("remote_address")
	b.out = append(b.out, '"')
	b.out = a.Addr().Unmap().WithZone("").AppendTo(b.out)
	b.out = append(b.out, '"')
	b.integer("remote_port", int64(a.Port()))
}

func (b *builder) requestHeaders(r *Request) {
	some, start := false, 0
	for i := range b.headers {
		h := &b.headers[i]
		vs := r.Headers[h.key]
		if len(vs) == 0 {
			continue
		}
		if !some {
			b.open("headers")
			some, start = true, b.last
		}
		b.name(h.name)
		b.headerValues(h, vs)
	}
	if some {
		b.end()
		b.elide(start, `{"elided":"`, `"}`)
	}
}

func (b *builder) headerValues(h *header, vs []string) {
	for i, v := range headerTexts(vs) {
		b.out = append(b.out, "[,"[min(i, 1)])
		if h.hashed {
			b.hashValue(v)
		} else {
			b.out = appendText(b.out, v)
		}
	}
	b.out = append(b.out, ']')
}

func (b *builder) response(r *Response, q *Request) {
	b.open("response")
	if r.Auth != nil {
		b.login(r.Auth)
	}
	b.mount(&q.Mount)
	if r.LeaseID != "" {
		b.open("secret")
		b.text("lease_id", r.LeaseID)
		b.end()
	}
	if r.Raw != nil {
		b.rawBody(r.Raw)
	} else {
		b.data(r.Data, r.Shape, q.Operation == "list" || q.Operation == "scan")
	}
	b.texts("warnings", r.Warnings)
	b.text("redirect", r.Redirect)
	if r.Wrap != nil {
		b.wrap(r.Wrap)
	}
	b.end()
}

func (b *builder) rawBody(r *api.Raw) {
	b.open("data")
	b.hash("http_content_type", r.ContentType)
	b.hash("http_raw_body", string(r.Body))
	b.integer("http_status_code", int64(max(r.Status, 200)))
	b.end()
}

func (b *builder) wrap(w *api.WrapInfo) {
	b.open("wrap_info")
	b.seconds("ttl", w.TTL)
	b.hash("token", w.Token.Reveal())
	b.accessor("accessor", w.Accessor)
	b.time("creation_time", w.CreationTime, time.RFC3339Nano)
	b.text("creation_path", w.CreationPath)
	b.accessor("wrapped_accessor", w.WrappedAccessor)
	b.end()
}

// failure shows why a request failed.
func (b *builder) failure(err error) {
	if err != nil {
		b.text("error", failureText(err))
	}
}

// failureText is the text of an *api.Error, which carries no secret. Any other
// error may hold anything, so only its existence is told.
func failureText(err error) string {
	var known *api.Error
	if errors.As(err, &known) && known.Kind != api.Internal {
		return known.Error()
	}
	return "internal error"
}
