package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/reference"
	"github.com/strongroom/strongroom/internal/server"
)

const root = "../../.."

// What is generated must be as the source says; go generate ./... makes it so.
func TestGeneratedFilesAreFresh(t *testing.T) {
	files, err := generate(root)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(root, name))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not fresh (%v): run go generate ./...", name, err)
		}
	}
	entries, err := os.ReadDir(filepath.Join(root, pagesDir))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if files[pagesDir+"/"+e.Name()] == nil {
			t.Errorf("%s/%s is generated no more", pagesDir, e.Name())
		}
	}
}

func endpoints(t *testing.T) []*api.Endpoint {
	t.Helper()
	engines, err := server.Engines()
	if err != nil {
		t.Fatal(err)
	}
	var all []*api.Endpoint
	for _, e := range engines {
		all = append(all, e.Endpoints...)
		for _, p := range pages() {
			if p.Mount.Type == e.Type && e.Variant != nil {
				all = append(all, e.Variant(p.Mount.Options)...)
			}
		}
	}
	return all
}

// A request field without a comment leaves its users to guess.
func TestEveryRequestFieldHasAComment(t *testing.T) {
	c, err := reference.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	var check func(e *api.Endpoint, s *api.Schema)
	check = func(e *api.Endpoint, s *api.Schema) {
		for i := range s.Fields {
			f := &s.Fields[i]
			checked++
			if c.Field(s, f) == "" {
				t.Errorf("%s %s: %s.%s has no comment", e.Op, e.Pattern, s.Name, f.Doc)
			}
			if f.Nested != nil {
				check(e, f.Nested)
			}
		}
	}
	for _, e := range endpoints(t) {
		if !e.Has(api.Hidden) {
			check(e, e.Request)
		}
	}
	if checked < 100 {
		t.Errorf("only %d fields were looked at", checked)
	}
}

// Every engine of the table has its page.
func TestEveryEngineHasAPage(t *testing.T) {
	engines, err := server.Engines()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range engines {
		found := false
		for _, p := range pages() {
			found = found || p.Mount.Type == e.Type
		}
		if !found {
			t.Errorf("engine %s has no page", e.Type)
		}
	}
}
