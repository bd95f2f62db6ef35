package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
)

func texts(pairs ...string) fstest.MapFS {
	out := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		out[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return out
}

func TestBuild(t *testing.T) {
	files, err := build(texts("reference/README.md", "# Reference\n\n[a](a.md) [design](../design.md#the-shape) [code](../../main.go) [out](https://example.org/) [bad](javascript:x)\n",
		"reference/a.md", "# A `b` & c\n\n[back](README.md)\n\n<script>x</script>\n\n| a | b |\n|---|---|\n| 1 | <b> |\n", "design.md", "# Design\n\n## The shape\n\n[down](reference) [here](#the-shape)\n", "notes.txt", "x"))
	if err != nil || len(files) != 3 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for name, wants := range map[string][]string{
		"index.html":       {`href="reference/a.html"`, `href="design.html#the-shape"`, `href="https://github.com/strongroom/strongroom/blob/main/main.go"`, `href="https://example.org/"`, `aria-current="page">Reference</a>`},
		"reference/a.html": {`<title>A b &amp; c · Strongroom</title>`, `href="../index.html"`, `<table>`},
		"design.html":      {`<h2 id="the-shape">The shape</h2>`, `<a href="index.html">down</a>`, `<a href="#the-shape">here</a>`},
	} {
		for _, want := range wants {
			if !strings.Contains(string(files[name]), want) {
				t.Errorf("%s lacks %s:\n%s", name, want, files[name])
			}
		}
		if strings.Contains(string(files[name]), "<script") || strings.Contains(string(files[name]), "javascript:") {
			t.Errorf("%s runs what a text says", name)
		}
	}
}

func TestLinksThatLeadNowhere(t *testing.T) {
	_, err := build(texts("a.md", "# A\n\n[x](b.md#none)\n[y](#none)\n", "b.md", "# B\n"))
	if err == nil || strings.Count(err.Error(), "a.md: the link to") != 2 {
		t.Fatal(err)
	}
}

// What is written in docs makes a site whose links lead somewhere.
func TestOurDocs(t *testing.T) {
	files, err := build(os.DirFS("../../../docs"))
	if err != nil || len(files) < 15 || files["index.html"] == nil || files["reference/sys-operator.html"] == nil {
		t.Fatalf("%d files, %v", len(files), err)
	}
	dir := t.TempDir()
	if err := write(dir, files); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		for i, part := range strings.Split(string(text), ` href="`) {
			link, _, _ := strings.Cut(part, `"`)
			if link, _, _ = strings.Cut(link, "#"); i == 0 || link == "" || strings.Contains(link, "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(dir, filepath.Dir(name), link)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
