package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
)

// exception is a part of the table that is not counted.
type exception struct {
	method string // method is empty for all.
	path   string // path is the beginning of the operations' paths.
	param  string // param is the one parameter that is excepted; empty: the operation.
	reason string
}

// exceptions are refused by design. The server still has a route for each of the
// operations, which says why and what to do instead, so that its OpenAPI document
// tells of the refusal.
func exceptions() []exception {
	return []exception{
		{"", "/v1/sys/workflows/", "", "programs that are stored and run in the server with the rights of others"},
		{"POST", "/v1/sys/plugins/catalog/", "", "the server runs no program of others: everything is built in"},
		{"DELETE", "/v1/sys/plugins/catalog/", "", "what is built in cannot be removed"},
		{"POST", "/v1/sys/plugins/reload/backend", "", "no plugin is a process of its own"},
		{"", "/v1/identity/mfa/method/duo", "", "every login would wait for a vendor's service: use totp"},
		{"", "/v1/identity/mfa/method/okta", "", "every login would wait for a vendor's service: use totp"},
		{"", "/v1/identity/mfa/method/pingid", "", "every login would wait for a vendor's service: use totp"},
	}
}

// meaningless are parameters that the reference server lists because another
// operation on the path has them, and never reads. Here they are unknown: the
// answer warns of one that is sent.
func meaningless() []exception {
	return []exception{
		{"POST", "/v1/{mount}/metadata/{path}", "after", "pages a list, and this writes"},
		{"POST", "/v1/{mount}/metadata/{path}", "limit", "pages a list, and this writes"},
		{"PATCH", "/v1/{mount}/metadata/{path}", "after", "pages a list, and this writes"},
		{"PATCH", "/v1/{mount}/metadata/{path}", "limit", "pages a list, and this writes"},
		{"POST", "/v1/auth/{mount}/role/{role_name}/secret-id", "after", "pages a list, and this writes"},
		{"POST", "/v1/auth/{mount}/role/{role_name}/secret-id", "limit", "pages a list, and this writes"},
		{"POST", "/v1/sys/internal/specs/openapi", "generic_mount_paths", "a POST has its parameters in the body, where this one is taken"},
		{"POST", "/v1/auth/{mount}/oidc/callback", "state", "a POST has its parameters in the body, where this one is taken"},
		{"POST", "/v1/auth/{mount}/oidc/callback", "code", "a POST has its parameters in the body, where this one is taken"},
		{"POST", "/v1/auth/{mount}/oidc/callback", "error", "a POST has its parameters in the body, where this one is taken"},
		{"POST", "/v1/auth/{mount}/oidc/callback", "error_description", "a POST has its parameters in the body, where this one is taken"},
		{"POST", "/v1/auth/{mount}/oidc/callback", "error_uri", "a POST has its parameters in the body, where this one is taken"},
		{"POST", "/v1/auth/{mount}/oidc/callback", "client_nonce", "a form of the provider does not have it"},
		{"POST", "/v1/auth/{mount}/oidc/callback", "confirmation", "a form of the provider does not have it"},
		{"POST", "/v1/auth/{mount}/role/{name}", "cel_program", "is of roles in CEL, at cel/role"},
		{"POST", "/v1/auth/{mount}/role/{name}", "message", "is of roles in CEL, at cel/role"},
	}
}

// later are what is not there yet and comes with a subject of its own. One that
// is served is counted like any other.
func later() []exception {
	return []exception{
		{"", "/v1/sys/quotas/", "", "quotas"},
	}
}

// covers is the place of the exception in a list that covers a parameter, or with
// no parameter the whole operation; -1 for none.
func covers(list []exception, op operation, param string) int {
	return slices.IndexFunc(list, func(e exception) bool {
		return e.param == param && (e.method == "" || e.method == op.method) && strings.HasPrefix(op.path, e.path)
	})
}

// refusedByDesign is the place in exceptions that covers an operation, or -1.
func refusedByDesign(op operation) int { return covers(exceptions(), op, "") }

// refusal counts an operation that is refused by design. One without a route of
// its own is missing all the same.
func (s *score) refusal(op operation, kinds map[string]string) {
	if kinds == nil {
		s.missing = append(s.missing, op.method+" "+op.path+", which is to say why it is refused")
		s.operations++
		return
	}
	s.refused++
}

// reportExceptions prints what is not counted, and why.
func reportExceptions(w io.Writer, scores map[string]*score) {
	var all score
	for _, s := range scores {
		all.refused, all.excepted, all.later = all.refused+s.refused, all.excepted+s.excepted, all.later+s.later
	}
	fmt.Fprintf(w, "\nnot counted: %d operations that are refused by design, with a 4xx that says why\n", all.refused)
	listExceptions(w, exceptions())
	fmt.Fprintf(w, "not counted: %d parameters that the reference server lists and never reads\n", all.excepted)
	listExceptions(w, meaningless())
	fmt.Fprintf(w, "not counted: %d operations and parameters that come with subjects of their own\n", all.later)
	listExceptions(w, later())
}

func listExceptions(w io.Writer, list []exception) {
	for _, e := range list {
		fmt.Fprintf(w, "  %-7s %-36s %s\n", cmp.Or(e.method, "any"), strings.TrimSpace(strings.TrimPrefix(e.path, "/v1/")+" "+e.param), e.reason)
	}
}
