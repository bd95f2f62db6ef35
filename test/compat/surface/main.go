// Command surface measures how much of the Vault HTTP API the server answers: it starts the real server, mounts every engine
// it can, fetches the OpenAPI document the server makes of its own declarations, and compares it with surface.tsv, which
// lists the operations and parameters that a reference server exposes. It prints a line for each group of the table; -v also
// lists what is missing.
package main

import (
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/strongroom/strongroom/test/process"
)

//go:embed surface.tsv
var surfaceTable string

func main() {
	missing := flag.Bool("v", false, "list what is missing")
	flag.Parse()
	scores, err := measure()
	if err != nil {
		fmt.Fprintln(os.Stderr, "surface:", err)
		os.Exit(1)
	}
	report(os.Stdout, scores, *missing)
}

// measure starts a server of its own and scores it.
func measure() (scores map[string]*score, err error) {
	table, err := readTable(strings.NewReader(surfaceTable))
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "surface")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	bin, err := process.Build(dir)
	if err != nil {
		return nil, err
	}
	server, err := process.Dev(bin, "root")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, server.Kill()) }()
	return scoreServer(server.URL, table)
}

func scoreServer(url string, table []operation) (map[string]*score, error) {
	mounts, err := mountAll(url, table)
	if err != nil {
		return nil, err
	}
	status, text, err := call(http.MethodGet, url+"/v1/sys/internal/specs/openapi", "")
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("the OpenAPI document answered %d: %s", status, text)
	}
	have, err := readDocument(text)
	if err != nil {
		return nil, err
	}
	return compare(table, have, mounts), nil
}

// mountAll enables an engine or auth method of the type of each group and returns their paths. A type that the server
// refuses stays without a path, so that its group scores nothing.
func mountAll(url string, table []operation) (map[string]string, error) {
	mounts := map[string]string{"auth:token": "auth/token"}
	for _, op := range table {
		class, name, hasClass := strings.Cut(op.group, ":")
		if _, done := mounts[op.group]; done || !hasClass {
			continue
		}
		path, api := "of-"+name, "sys/mounts/"
		if class == "auth" {
			path, api = "auth/of-"+name, "sys/"
		}
		body := fmt.Sprintf(`{"type":%q}`, name)
		if name == "kv-v2" {
			body = `{"type":"kv","options":{"version":"2"}}`
		}
		if _, _, err := call(http.MethodPost, url+"/v1/"+api+path, body); err != nil {
			return nil, err
		}
		mounts[op.group] = path
	}
	return mounts, nil
}

// call makes a request with the root token.
func call(verb, url, body string) (int, []byte, error) {
	req, err := http.NewRequest(verb, url, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("X-Vault-Token", "root")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, text, errors.Join(err, resp.Body.Close())
}
