package house

import (
	"go/ast"
	"go/types"
	"slices"
	"strings"
)

// Nodes keep nothing between requests but what a cache holds that the store's feed
// keeps true. An engine or auth method that remembered anything by itself would
// answer from it after another node had changed it. So their handlers belong to types
// without fields, and they have nothing to share memory with: no locks, no atomics,
// no goroutines.

// served reports whether a package is an engine or an auth method.
func served(s *source) bool {
	return !s.test() && (strings.HasPrefix(s.dir(), "internal/engine/") || strings.HasPrefix(s.dir(), "internal/auth/"))
}

func checkMemory(s *source) []string {
	if !served(s) {
		return nil
	}
	var out []string
	for _, i := range s.file.Imports {
		if slices.Contains([]string{`"sync"`, `"sync/atomic"`, `"weak"`, `"unique"`}, i.Path.Value) {
			out = append(out, s.at(i.Pos(), "an engine keeps nothing between requests, so it has no use for %s", i.Path.Value))
		}
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		if g, ok := n.(*ast.GoStmt); ok {
			out = append(out, s.at(g.Pos(), "an engine begins nothing that outlives a request: use Call.Later"))
		}
		return true
	})
	return out
}

// checkNamed finds handlers that are no functions by name: what a closure has caught lives as long as the route.
func checkNamed(s *source) []string {
	if !served(s) {
		return nil
	}
	var out []string
	ast.Inspect(s.file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || types.ExprString(call.Fun) != "api.Handle" && types.ExprString(call.Fun) != "api.Upsert" {
			return true
		}
		for _, arg := range call.Args {
			switch arg.(type) {
			case *ast.FuncLit, *ast.CallExpr:
				out = append(out, s.at(arg.Pos(), "a handler is a function by name: what a closure has caught would outlive the request"))
			}
		}
		return true
	})
	return out
}

// checkHandlers finds handlers whose type has fields, in which something could be kept.
func checkHandlers(pkg []*source) []string {
	all := structs(pkg)
	var out []string
	for _, s := range pkg {
		if !served(s) {
			continue
		}
		for _, f := range functions(s) {
			if of := receiver(f); of != "" && handles(f) && (all[of] == nil || len(all[of].Fields.List) > 0) {
				out = append(out, s.at(f.Pos(), "%s has a handler and must be a struct without fields: nothing is kept between requests", of))
			}
		}
	}
	return out
}

// receiver is the type that a method is of.
func receiver(f *ast.FuncDecl) string {
	if f.Recv == nil || len(f.Recv.List) == 0 {
		return ""
	}
	return typeName(f.Recv.List[0].Type)
}

// handles reports whether a function has the form of a handler.
func handles(f *ast.FuncDecl) bool {
	p, r := f.Type.Params.List, f.Type.Results
	if len(p) != 2 {
		return false
	}
	_, request := p[1].Type.(*ast.StarExpr)
	return request && types.ExprString(p[0].Type) == "*api.Call" && r != nil && len(r.List) == 2 && types.ExprString(r.List[1].Type) == "error"
}

// checkReach finds what would connect to others past the bound that the operator sets for namespaces.
func checkReach(s *source) []string {
	if s.test() || !strings.HasPrefix(s.dir(), "internal/auth/") && s.dir() != "internal/issuer" {
		return nil
	}
	var out []string
	ast.Inspect(s.file, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && slices.Contains(connecting(), types.ExprString(sel)) {
			out = append(out, s.at(n.Pos(), "%s: auth methods reach others through internal/outbound alone", types.ExprString(sel)))
		}
		return true
	})
	return out
}

// connecting is what connects to others, or asks about them.
func connecting() []string {
	return []string{"net.Dial", "net.DialTimeout", "net.DialTCP", "net.DialUDP", "net.DialIP", "net.DialUnix", "net.Dialer", "net.Resolver", "net.LookupHost", "net.LookupIP", "net.LookupAddr",
		"net.ResolveTCPAddr", "net.ResolveUDPAddr", "tls.Dial", "tls.DialWithDialer", "tls.Dialer", "http.Client", "http.DefaultClient", "http.Transport", "http.DefaultTransport", "http.Get", "http.Head",
		"http.Post", "http.PostForm", "ldap.Dial", "ldap.DialTLS", "ldap.DialURL", "wire.Client", "wire.Exchange"}
}

func engineRules() []rule {
	const head = "// Package x is x.\npackage x\n"
	const handler = "func (e *x) read(c *api.Call, q *api.None) (*api.None, error) { return nil, nil }\n"
	at := func(text string) files { return files{"internal/engine/x/x.go": text} }
	return []rule{
		{"auth methods reach others within the bound", each(checkReach), []files{
			{"internal/auth/x/x.go": head + "import \"net\"\nvar d = net.Dialer{}\n"},
			{"internal/issuer/x.go": head + "import \"net/http\"\nfunc f() { _, _ = http.Get(\"\") }\n"},
		}, files{"internal/auth/x/x.go": head + "import \"net\"\nvar a net.Addr\n", "internal/outbound/x.go": head + "import \"net\"\nvar d = net.Dialer{}\n"}},
		{"engines share no memory between requests", each(checkMemory), []files{
			at(head + "import \"sync\"\nvar _ sync.Mutex\n"), at(head + "import \"sync/atomic\"\nvar _ atomic.Int64\n"),
			at(head + "func f() { go f() }\n"), {"internal/auth/x/x.go": head + "func f() { go f() }\n"},
		}, files{"internal/engine/x/x.go": head + "func f() { f() }\n", "internal/gate/x.go": head + "func f() { go f() }\n"}},
		{"handlers of engines are functions by name", each(checkNamed), []files{
			at(head + "func routes() any { n := 0; return api.Handle(api.Read, \"n\", func(e x, c *api.Call, q *api.None) (*api.None, error) { n++; return nil, nil }) }\n"),
			at(head + "func routes() any { return api.Upsert(\"n\", counted(), x.exists) }\n"),
		}, files{"internal/engine/x/x.go": head + "func routes() any { return api.Handle(api.Read, \"n\", x.read, api.Public|api.Sealed) }\n"}},
		{"handlers of engines have nowhere to keep anything", checkHandlers, []files{
			at(head + "type x struct{ seen map[string]int }\n" + handler), at(head + "type x map[string]int\n" + handler),
		}, at(head + "type x struct{}\n" + handler)},
	}
}
