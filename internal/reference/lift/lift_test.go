package lift

import (
	"testing"
	"testing/fstest"
)

func file(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }

const door = `package door

// Ajar is how far a door is open.
//
// It is measured
// in degrees.
type Ajar struct {
	hinge.Side
	// Width in
	// millimetres.
	Width int ` + "`json:\"width\"`" + `
	A, B int ` + "`json:\"ab\"`" + ` // Two at once.
	Bare int ` + "`json:\"bare\"`" + `
	hidden int // Not lifted.
}

// Plain has no tags.
type Plain struct { X int }

type Room struct{}

// open opens the door.
func (*Room) open(c *api.Call, r *Ajar) (*Ajar, error) { return nil, nil }

// other is no handler.
func (*Room) other(n int) {}
func (*Room) silent(c *api.Call) {}

// Shut shuts any of them.
func Shut[E, Q any](_ E, c *api.Call, q *Q) (*Ajar, error) { return nil, nil }

// Near is no handler.
func Near[Q any](c *api.Call, q *Q) {}

// Plainly is not either.
func Plainly(r *Room, c *api.Call) {}
`

const hinge = `package hinge

// Side is embedded.
type Side struct {
	Left bool ` + "`json:\"left\"`" + ` // On the left.
	Width int ` + "`json:\"-\"`" + ` // Shadowed.
}
`

func TestLift(t *testing.T) {
	c, err := Lift(fstest.MapFS{
		"in/door/door.go":       file(door),
		"in/hinge/hinge.go":     file(hinge),
		"in/door/door_test.go":  file("package door\n// T is a test's.\ntype T struct{ X int `json:\"x\"` }"),
		"in/cmd/main.go":        file("package main\n// M is a program's.\ntype M struct{ X int `json:\"x\"` }"),
		"in/door/testdata/x.go": file("not Go"),
		"out/x.go":              file("not Go"),
	}, "in")
	if err != nil {
		t.Fatal(err)
	}
	ajar := c.Types["door.Ajar"]
	if ajar.Doc != "Ajar is how far a door is open.\n\nIt is measured in degrees." {
		t.Errorf("doc %q", ajar.Doc)
	}
	want := map[string]string{"Width": "Width in millimetres.", "A": "Two at once.", "B": "Two at once.", "Left": "On the left."}
	for name, text := range want {
		if ajar.Fields[name] != text {
			t.Errorf("%s: %q, want %q", name, ajar.Fields[name], text)
		}
	}
	if len(ajar.Fields) != len(want) {
		t.Errorf("fields %v", ajar.Fields)
	}
	if len(c.Types) != 2 || len(c.Handlers) != 2 || c.Handlers["door.Room.open"] != "open opens the door." || c.Handlers["door.Shut"] != "Shut shuts any of them." {
		t.Errorf("types %v, handlers %v", c.Types, c.Handlers)
	}
}

func TestLiftRefuses(t *testing.T) {
	for what, fsys := range map[string]fstest.MapFS{
		"source that does not parse": {"in/a.go": file("package a\nfunc")},
		"two types of one name":      {"in/a/a.go": file(hinge), "in/b/b.go": file(hinge)},
	} {
		if _, err := Lift(fsys, "in"); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}
