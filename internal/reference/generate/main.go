// Command generate writes what derives from the declarations of endpoints: the
// file of lifted comments that the server embeds, and the reference pages.
// Its argument is the top directory of the source.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/strongroom/strongroom/internal/reference"
	"github.com/strongroom/strongroom/internal/reference/lift"
	"github.com/strongroom/strongroom/internal/server"
)

// commentsPath is the file that the reference package embeds.
const commentsPath = "internal/reference/comments.json"

// pagesDir holds nothing but generated pages.
const pagesDir = "docs/reference"

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: generate DIR")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

// write replaces the generated files.
func write(root string) error {
	files, err := generate(root)
	if err != nil {
		return err
	}
	if err := os.RemoveAll(filepath.Join(root, pagesDir)); err != nil {
		return err
	}
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// generate makes all generated files in memory, by their path below root.
func generate(root string) (map[string][]byte, error) {
	comments, err := lift.Lift(os.DirFS(root), "internal")
	if err != nil {
		return nil, err
	}
	engines, err := server.Engines()
	if err != nil {
		return nil, err
	}
	book := &reference.Book{Engines: engines, Comments: comments}
	texts, err := book.Pages(pages())
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for name, text := range texts {
		files[pagesDir+"/"+name] = text
	}
	files[commentsPath], err = encode(comments)
	return files, err
}

func encode(c *reference.Comments) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	err := e.Encode(c)
	return b.Bytes(), err
}
