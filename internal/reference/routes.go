package reference

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
)

// Routes are the endpoints under sys/ that describe the others.
func Routes() []api.Route[*Book] {
	return []api.Route[*Book]{
		api.Handle(api.Read, "internal/specs/openapi", (*Book).Specification, api.Open),
		api.Handle(api.Write, "internal/specs/openapi", (*Book).Specification, api.Open),
	}
}

// SpecificationRequest asks for the OpenAPI document.
type SpecificationRequest struct {
	Generic bool   `json:"generic_mount_paths"` // Leave the mounts' paths open, so that the document fits every server with these engines.
	Context string `json:"context"`             // Text that ends each operationId, of up to 64 bytes; needs a token.
}

// maxContext is how long the text may be that ends each operationId, in bytes: it
// is in the answer some hundreds of times.
const maxContext = 64

// Specification answers the OpenAPI document of the mounts that the caller may
// know of. A caller without a token gets what is the same for everybody.
func (b *Book) Specification(c *api.Call, q *SpecificationRequest) (*api.Raw, error) {
	stranger := c.Caller.TokenID == "" && c.Caller.Namespace.ID == ""
	switch {
	case len(q.Context) > maxContext:
		return nil, api.Errorf(api.Invalid, "context: longer than %d bytes", maxContext)
	case stranger && q.Context != "":
		return nil, &api.Error{Kind: api.Invalid, Message: "context: needs a token", Hint: "log in first, or leave it out"}
	case !stranger:
		return b.document(c, q)
	}
	made := &b.strangers[0]
	if q.Generic {
		made = &b.strangers[1]
	}
	if made.Load() == nil {
		raw, err := b.document(c, q)
		if err != nil {
			return nil, err
		}
		made.Store(raw)
	}
	return made.Load(), nil
}

func (b *Book) document(c *api.Call, q *SpecificationRequest) (*api.Raw, error) {
	mounts, err := b.Mounts(c)
	if err != nil {
		return nil, err
	}
	return api.JSON(http.StatusOK, b.openAPI(mounts, q.Generic, q.Context))
}

func (b *Book) openAPI(mounts []Mount, generic bool, context string) *document {
	doc := newDocument()
	named := map[*api.Endpoint]bool{}
	taken := map[string]int{}
	for _, m := range mounts {
		eps := b.endpoints(m)
		if len(eps) == 0 || generic && named[eps[0]] {
			continue // templates that differ in the name of the mount alone are one path
		}
		named[eps[0]] = true
		w := &writer{doc: doc, comments: b.Comments, prefix: "/" + m.Path, name: unique(taken, slug(m.Path)), suffix: slug(context), tag: tag(m)}
		if generic && !m.Builtin {
			w.open(m)
		}
		w.mount(eps)
	}
	return doc
}

// open leaves the mount's path open, with the one it has as default.
func (w *writer) open(m Mount) {
	name, isAuth := strings.CutPrefix(m.Path, "auth/")
	name = strings.TrimSuffix(name, "/")
	parameterName := strings.NewReplacer("/", "_", "-", "_").Replace(name) + "_mount_path"
	w.prefix = "/{" + parameterName + "}/"
	if isAuth {
		w.prefix = "/auth" + w.prefix
	}
	w.shared = &parameter{Name: parameterName, Description: "Path of the mount.", In: "path", Required: true, Schema: &schema{Type: "string", Default: name}}
}

// slug is a text with nothing but letters, digits and dashes between them.
func slug(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
	}), "-")
}

// unique is a name, with a number when the name is taken.
func unique(taken map[string]int, name string) string {
	taken[name]++
	if n := taken[name]; n > 1 {
		return unique(taken, name+"-"+strconv.Itoa(n))
	}
	return name
}

func tag(m Mount) string {
	switch {
	case m.Type == "system":
		return "system"
	case strings.HasPrefix(m.Path, "auth/"):
		return "auth"
	}
	return "secrets"
}

// help is the answer to a request for a path's help.
type help struct {
	Help    string    `json:"help"`
	SeeAlso []string  `json:"see_also"`
	OpenAPI *document `json:"openapi"`
}

// Help describes what answers on a path pattern of a mount, as JSON: text in
// help, and the pattern's part of the OpenAPI document. It returns NotFound for
// a pattern that the mount has not. Without a pattern it lists the mount's
// endpoints.
func (b *Book) Help(m Mount, pattern string) ([]byte, error) {
	all := places(b.endpoints(m))
	if pattern == "" && len(all) > 0 {
		return b.help(m, b.Comments.overview(m, all), all)
	}
	for i, p := range all {
		if p.pattern == pattern {
			return b.help(m, b.Comments.text(m, &p), all[i:i+1])
		}
	}
	return nil, api.ErrNotFound()
}

func (b *Book) help(m Mount, text string, about []place) ([]byte, error) {
	doc := newDocument()
	w := &writer{doc: doc, comments: b.Comments, prefix: "/" + m.Path, name: slug(m.Path), tag: tag(m)}
	for i := range about {
		w.place(&about[i])
	}
	out, err := json.Marshal(help{Help: text, OpenAPI: doc})
	if err != nil {
		return nil, fmt.Errorf("help: %w", err)
	}
	return out, nil
}
