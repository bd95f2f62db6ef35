package server

import (
	"net/http"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/hcl/ast"
)

// maxConditionHeaders is how many headers conditions of policies may weigh.
const maxConditionHeaders = 32

// secretHeader reports whether a header carries a credential, which no
// condition may weigh: what a condition names can be asked about.
func secretHeader(name string) bool {
	return slices.Contains([]string{"Authorization", "Proxy-Authorization", "Cookie", "X-Vault-Token"}, name)
}

// headers reads policy_headers: the headers that conditions may weigh.
func (r *reader) headers(it *ast.ObjectItem) []string {
	list, ok := it.Val.(*ast.ListType)
	if !ok || len(it.Keys) != 1 {
		r.fault(it, `policy_headers: must be a list of names, such as ["X-Device"]`)
		return nil
	}
	if len(list.List) > maxConditionHeaders {
		r.fault(it, "policy_headers: names more than %d headers; leave out those that no policy needs", maxConditionHeaders)
		return nil
	}
	var out []string
	for _, item := range list.List {
		name := ""
		if lit, ok := item.(*ast.LiteralType); ok {
			text, err := value(lit.Token.Value)
			r.check(it, err)
			name = http.CanonicalHeaderKey(text)
		}
		switch {
		case !headerName(name):
			r.fault(it, "policy_headers: one is not the name of a header; write letters, digits and dashes")
		case secretHeader(name):
			r.fault(it, "policy_headers: %s carries a credential, which no policy may weigh; leave it out", name)
		case !slices.Contains(out, name):
			out = append(out, name)
		}
	}
	return out
}

func headerName(s string) bool {
	return s != "" && len(s) <= 128 && strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}
