// Command site makes pages for a browser of all that is written in docs: the
// reference, the design, the decisions. Its pages need nothing from elsewhere.
package main

import (
	_ "embed"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

//go:embed page.html
var layout string

// headerTime is how long a browser may take to ask.
const headerTime = 10 * time.Second

func main() {
	docs := flag.String("docs", "docs", "`DIR` of what is written")
	out := flag.String("out", "dist/site", "`DIR` for the pages")
	addr := flag.String("addr", "", "`ADDR` to serve the pages at, such as 127.0.0.1:8080; empty: they are not served")
	flag.Parse()
	if err := run(*docs, *out, *addr); err != nil {
		fmt.Fprintln(os.Stderr, "site:", err)
		os.Exit(1)
	}
}

func run(docs, out, addr string) error {
	files, err := build(os.DirFS(docs))
	if err != nil {
		return err
	}
	if err := write(out, files); err != nil {
		return err
	}
	fmt.Printf("%d pages are in %s; begin at %s\n", len(files), out, filepath.Join(out, "index.html"))
	if addr == "" {
		return nil
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	fmt.Printf("http://%s/\n", l.Addr())
	server := &http.Server{Handler: http.FileServer(http.Dir(out)), ReadHeaderTimeout: headerTime}
	return server.Serve(l)
}

func write(out string, files map[string][]byte) error {
	for name, text := range files {
		path := filepath.Join(out, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}
