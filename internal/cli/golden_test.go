package cli

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files with what the commands print now")

// answer is what the fake server says to one request.
type answer struct {
	status int
	body   string
}

// fake is a server with canned answers, which records what it is asked.
type fake struct {
	*httptest.Server
	answers  map[string]answer
	requests []string
}

func newFake(t *testing.T, answers map[string]answer) *fake {
	t.Helper()
	f := &fake{answers: answers}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

// ServeHTTP answers by method and path; a path it does not know is a bare 404,
// as the dialect answers where nothing is.
func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	key := r.Method + " " + strings.TrimPrefix(r.URL.String(), "/v1/")
	line := key
	for _, h := range []string{"X-Vault-Namespace", "X-Vault-Wrap-Ttl", "X-Extra"} {
		if v := r.Header.Get(h); v != "" {
			line += " " + h + "=" + v
		}
	}
	f.requests = append(f.requests, strings.TrimSpace(line+" "+string(body)))
	a, ok := f.answers[key]
	switch {
	case r.Header.Get("X-Vault-Token") == "bad":
		a = answer{403, `{"errors":["permission denied"]}`}
	case !ok:
		a = answer{404, `{"errors":[]}`}
	}
	w.WriteHeader(a.status)
	io.WriteString(w, a.body)
}

// result is one run of the program.
type result struct {
	stdout, stderr string
	code           int
}

// run runs a line of a session: words, with VAR=value before them and, after
// "<<<", one word of standard input. What it prints has
// SERVER for the server's address.
func run(t *testing.T, f *fake, home, line string) result {
	t.Helper()
	env := map[string]string{"HOME": home, "STRONGROOM_ADDR": f.URL, "STRONGROOM_TOKEN": "root", "STRONGROOM_MAX_RETRIES": "0"}
	line, stdin, _ := strings.Cut(line, " <<< ")
	words := strings.Fields(strings.ReplaceAll(line, "SERVER", f.URL))
	for len(words) > 0 && strings.HasPrefix(words[0], "STRONGROOM_") {
		k, v, _ := strings.Cut(words[0], "=")
		env[k], words = v, words[1:]
	}
	var out, errs bytes.Buffer
	args := append([]string{"strongroom"}, words...)
	code := Main(args, strings.NewReader(stdin), &out, &errs, func(k string) string { return env[k] })
	hide := func(b bytes.Buffer) string { return strings.ReplaceAll(b.String(), f.URL, "SERVER") }
	return result{hide(out), hide(errs), code}
}

// TestGolden runs the sessions in testdata/*.txt: after each line "$ command"
// come the requests it sends (>), what it prints (| and, for errors, !) and its
// exit code (=). -update writes them anew.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no golden files", err)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			got := replay(t, string(want))
			if *update {
				if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			compare(t, string(want), got)
		})
	}
}

func replay(t *testing.T, session string) string {
	f, home := newFake(t, cannedAnswers()), t.TempDir()
	var b strings.Builder
	lines := bufio.NewScanner(strings.NewReader(session))
	for lines.Scan() {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "#") || line == "":
			fmt.Fprintln(&b, line)
		case strings.HasPrefix(line, "$ "):
			f.requests = nil
			r := run(t, f, home, line[2:])
			fmt.Fprintln(&b, line)
			quote(&b, "> ", strings.Join(f.requests, "\n"))
			quote(&b, "| ", r.stdout)
			quote(&b, "! ", r.stderr)
			fmt.Fprintf(&b, "= %d\n", r.code)
		}
	}
	return b.String()
}

func quote(b *strings.Builder, mark, text string) {
	if text == "" {
		return
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(text, "\n"), "\n") {
		b.WriteString(strings.TrimRight(mark+line, " ") + "\n")
	}
}

func compare(t *testing.T, want, got string) {
	t.Helper()
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	command := ""
	for i := range max(len(w), len(g)) {
		var a, b string
		if i < len(w) {
			a = w[i]
		}
		if i < len(g) {
			b = g[i]
		}
		if strings.HasPrefix(a, "$") {
			command = a
		}
		if a != b {
			t.Fatalf("line %d, after %q:\nwant %q\ngot  %q", i+1, command, a, b)
		}
	}
}
