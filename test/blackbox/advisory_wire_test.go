package blackbox

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/server/servertest"
)

// TestGH_3518_LimitsOfPages asks for pages of more than a policy grants in every
// way in which a limit could be none.
// Control: with the comparison of policy.PageLimit taken out of Decide, 0 and -1 get all keys.
func TestGH_3518_LimitsOfPages(t *testing.T) {
	s := furnished(t)
	for i := range 5 {
		s.Want(t, 204, "POST", fmt.Sprintf("kv1/p/%d", i), root, `{"a":"b"}`)
	}
	token := s.Policy(t, "", "paged", `path "kv1/p/*" { capabilities = ["list", "scan"] pagination_limit = 2 }`)
	for _, limit := range []string{"0", "-1", "", "3", "NaN", "9223372036854775808", "-9223372036854775808", "1e9", "0x1", "2&limit=5", "5&limit=2", "%32%30", "2.9", "+3", "%202", "true"} {
		for _, method := range []string{"LIST", "SCAN"} {
			a := s.Do(t, method, "kv1/p/?limit="+limit, token, "")
			if keys, _ := a.Field("data", "keys").([]any); len(keys) > 2 || a.Status >= 500 {
				t.Errorf("%s limit=%s: %d %s", method, limit, a.Status, a.Body)
			}
		}
	}
	for _, path := range []string{"kv1/p/", "kv1/p"} {
		a := s.Do(t, "LIST", path, token, "")
		if keys, _ := a.Field("data", "keys").([]any); len(keys) > 2 {
			t.Errorf("%s without a limit: %s", path, a.Body)
		}
	}
	a := s.Want(t, 200, "LIST", "kv1/p/?limit=2", token, "")
	if keys, _ := a.Field("data", "keys").([]any); len(keys) != 2 {
		t.Errorf("control: %s", a.Body)
	}
}

// TestCVE_2026_33413_ListingsShowNoMore holds what listings show against what the
// caller may read one by one: names alone, and details only under a path of their own.
// Control: with detailed-metadata judged as metadata, the note is shown.
func TestCVE_2026_33413_ListingsShowNoMore(t *testing.T) {
	s := furnished(t)
	s.Want(t, 200, "POST", "secret/data/priv/x", root, `{"data":{"v":"`+canary+`"}}`)
	s.Want(t, 204, "POST", "secret/metadata/priv/x", root, `{"custom_metadata":{"note":"`+canary+`"}}`)
	s.Want(t, 204, "POST", "kv1/priv/x", root, `{"v":"`+canary+`"}`)
	token := s.Policy(t, "", "lister", `path "secret/metadata/*" { capabilities = ["list", "scan"] } path "kv1/*" { capabilities = ["list", "scan"] }`)
	for _, path := range []string{"secret/metadata/", "secret/metadata/priv/", "secret/detailed-metadata/", "secret/detailed-metadata/priv/", "secret/metadata/priv/x", "secret/data/priv/", "secret/subkeys/priv/x", "kv1/", "kv1/priv/", "kv1/priv/x"} {
		for _, method := range []string{"LIST", "SCAN", "GET"} {
			for _, query := range []string{"", "?list=true", "?detailed=true", "?after=a&limit=5"} {
				if a := s.Do(t, method, path+query, token, ""); strings.Contains(a.Text(), canary) {
					t.Errorf("%s %s%s shows what its caller may not read: %s", method, path, query, a.Body)
				}
			}
		}
	}
	if a := s.Want(t, 200, "LIST", "secret/detailed-metadata/priv/", root, ""); !strings.Contains(a.Text(), canary) {
		t.Errorf("control: %s", a.Body)
	}
}

// TestCVE_2020_10661_NoNamespaceUnderOldPaths makes mounts, and policies for
// them, and then tries to put a namespace where they are: a path that has a
// meaning keeps it.
// Control: without Hooks.Taken and Hooks.Claim the namespace is made.
func TestCVE_2020_10661_NoNamespaceUnderOldPaths(t *testing.T) {
	s := furnished(t)
	s.Want(t, 204, "POST", "sys/mounts/a/b", root, `{"type":"kv"}`)
	s.Want(t, 204, "POST", "a/b/x", root, `{"v":"`+canary+`"}`)
	for _, c := range [][2]string{{"a", ""}} {
		if a := s.Do(t, "POST", "sys/namespaces/"+c[0], root, `{}`, "X-Vault-Namespace", c[1]); a.Status != 400 {
			t.Errorf("a namespace %q over a mount: %d %s", c[0], a.Status, a.Body)
		}
	}
	s.Want(t, 200, "POST", "sys/namespaces/d", root, `{}`)
	token := s.Policy(t, "d", "old", `path "a/b/*" { capabilities = ["read", "update", "list"] }`)
	for _, where := range []string{"", "d"} {
		if a := s.Do(t, "GET", "a/b/x", token, "", "X-Vault-Namespace", where); a.Status == 200 {
			t.Errorf("a policy of d reaches what is beside it: %s", a.Body)
		}
	}
	if a := s.Do(t, "POST", "sys/mounts/d/x", root, `{"type":"kv"}`); a.Status < 400 && a.Header.Get("X-Vault-Namespace") == "" {
		if b := s.Do(t, "GET", "sys/mounts/x", root, "", "X-Vault-Namespace", "d"); b.Status != 200 {
			t.Errorf("a mount beside the namespace d: %d", b.Status)
		}
	}
}

// TestCVE_2026_39396_NothingIsInflated sends gzip of 256 MiB under every name of
// an encoding: no request is inflated.
// Control: a door that reads r.Body through gzip.NewReader holds all of it.
func TestCVE_2026_39396_NothingIsInflated(t *testing.T) {
	s := furnished(t)
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	chunk := bytes.Repeat([]byte(" "), 1<<20)
	for range 256 {
		if _, err := z.Write(chunk); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for _, name := range []string{"gzip", "GZIP", "x-gzip", "deflate", "br", "zstd", "identity, gzip"} {
		for _, token := range []string{root, ""} {
			a := s.Do(t, "POST", "kv1/z", token, bomb.String(), "Content-Encoding", name)
			if a.Status < 400 || a.Status >= 500 {
				t.Errorf("%s: %d %s", name, a.Status, a.Body)
			}
		}
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 64<<20 {
		t.Errorf("%d MiB were allocated for it", grown>>20)
	}
}

// TestCVE_2026_33758_NoMarkup puts markup wherever a request has a place for
// text: no answer can be taken for a page.
// Control: without the header nosniff, or with text/html, it fails.
func TestCVE_2026_33758_NoMarkup(t *testing.T) {
	s := furnished(t)
	const markup = `%3Cscript%3Ealert(1)%3C/script%3E`
	plain := strings.NewReplacer("%3C", "<", "%3E", ">").Replace(markup)
	check := func(what string, a *servertest.Answer) {
		t.Helper()
		if a.Status == 204 {
			return
		}
		if got := a.Header.Get("Content-Type"); got != "application/json" {
			t.Errorf("%s: Content-Type %q", what, got)
		}
		if a.Header.Get("X-Content-Type-Options") != "nosniff" || a.Header.Get("Content-Security-Policy") != "default-src 'none'" {
			t.Errorf("%s: a browser may take it for something else: %v", what, a.Header)
		}
		if a.Status >= 400 && strings.Contains(a.Text(), "<script") {
			t.Errorf("%s: %s", what, a.Body)
		}
	}
	for _, path := range []string{"kv1/" + markup, markup, "sys/" + markup, "kv1/a?x=" + markup, "kv1/a?list=" + markup, "sys/health?error_description=" + markup, "../" + markup, "../ui/" + markup} {
		check(path, s.Do(t, "GET", path, root, ""))
		check(path, s.Do(t, "GET", path, "", "", "X-Vault-Wrap-TTL", plain, "Accept", "text/html"))
	}
	check("a body", s.Do(t, "POST", "auth/token/create", root, quoted(t, map[string]string{plain: plain, "ttl": plain, "type": plain})))
	check("a mount", s.Do(t, "POST", "sys/mounts/x", root, quoted(t, map[string]string{"type": plain})))
	check("a value", s.Want(t, 200, "GET", "kv1/a", root, ""))
}

// repository walks all Go files of the product.
func repository(t *testing.T, visit func(name string, file *ast.File)) {
	t.Helper()
	n := 0
	err := filepath.WalkDir("../../internal", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, text, 0)
		n++
		visit(path, file)
		return err
	})
	if err != nil || n < 50 {
		t.Fatalf("%d files, %v", n, err)
	}
}

// unauthenticatedMode finds the first use of a cipher mode that authenticates nothing.
func unauthenticatedMode(file *ast.File) (found string) {
	ast.Inspect(file, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			for _, mode := range []string{"NewCBC", "NewCTR", "NewOFB", "NewCFB"} {
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == "cipher" && strings.HasPrefix(sel.Sel.Name, mode) {
					found = sel.Sel.Name
				}
			}
		}
		return true
	})
	return found
}

// TestCVE_2023_2197_NoUnauthenticatedModes looks for modes of a cipher with
// padding or without authentication.
func TestCVE_2023_2197_NoUnauthenticatedModes(t *testing.T) {
	repository(t, func(name string, file *ast.File) {
		if mode := unauthenticatedMode(file); mode != "" {
			t.Errorf("%s uses cipher.%s", name, mode)
		}
	})
	control, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\nvar _ = cipher.NewCBCDecrypter(b, iv)", 0)
	if err != nil || unauthenticatedMode(control) == "" {
		t.Errorf("control: not found, %v", err)
	}
}

// secretDependent finds what makes the time or the memory accesses of a file
// depend on what it computes with: branches and indices.
func secretDependent(file *ast.File) (found string) {
	ast.Inspect(file, func(n ast.Node) bool {
		switch n.(type) {
		case *ast.IndexExpr, *ast.IfStmt, *ast.SwitchStmt:
			found = fmt.Sprintf("%T", n)
		}
		return true
	})
	return found
}

// TestCVE_2023_25000_FieldWithoutTables looks at the arithmetic of key shares.
func TestCVE_2023_25000_FieldWithoutTables(t *testing.T) {
	looked := false
	repository(t, func(name string, file *ast.File) {
		if filepath.Base(name) == "gf256.go" {
			looked = true
			if what := secretDependent(file); what != "" {
				t.Errorf("%s has a %s", name, what)
			}
		}
	})
	control, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\nfunc f(a byte) byte { return table[a] }", 0)
	if !looked || err != nil || secretDependent(control) == "" {
		t.Errorf("control: looked %v, %v", looked, err)
	}
}
