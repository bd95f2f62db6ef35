package main

import (
	"fmt"
	"io"
	"strings"
)

// exception is a part of the table that is refused by design. The server still
// has a route for each of its operations, which says why and what to do instead,
// so that its OpenAPI document tells of the refusal.
type exception struct {
	method string // method is empty for all.
	path   string // path is the beginning of the operations' paths.
	reason string
}

// exceptions are not counted, neither as answered nor as missing.
func exceptions() []exception {
	return []exception{
		{"", "/v1/sys/workflows/", "programs that are stored and run in the server with the rights of others"},
		{"POST", "/v1/sys/plugins/catalog/", "the server runs no program of others: everything is built in"},
		{"DELETE", "/v1/sys/plugins/catalog/", "what is built in cannot be removed"},
		{"POST", "/v1/sys/plugins/reload/backend", "no plugin is a process of its own"},
	}
}

// refusedByDesign is the place in exceptions that covers an operation, or -1.
func refusedByDesign(op operation) int {
	for i, e := range exceptions() {
		if (e.method == "" || e.method == op.method) && strings.HasPrefix(op.path, e.path) {
			return i
		}
	}
	return -1
}

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

// reportExceptions prints what is refused by design, and why.
func reportExceptions(w io.Writer, scores map[string]*score) {
	total := 0
	for _, s := range scores {
		total += s.refused
	}
	fmt.Fprintf(w, "\nnot counted: %d operations that are refused by design, with a 4xx that says why\n", total)
	for _, e := range exceptions() {
		method := e.method
		if method == "" {
			method = "any"
		}
		fmt.Fprintf(w, "  %-7s %-36s %s\n", method, strings.TrimPrefix(e.path, "/v1/"), e.reason)
	}
}
