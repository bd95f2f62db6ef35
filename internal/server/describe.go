package server

import (
	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/mount"
	"github.com/strongroom/strongroom/internal/operator"
	"github.com/strongroom/strongroom/internal/reference"
)

// Engines is the table of everything that can be mounted, over nothing that
// runs: it can be described but not called. It returns an error when a
// declaration is wrong.
func Engines() ([]api.Engine, error) { return (&Server{}).engines(&house{}, &operator.Desk{}) }

// describe gives path-help and the OpenAPI document what they tell of.
func (h *house) describe(engines []api.Engine) error {
	comments, err := reference.Embedded()
	h.book = reference.Book{Engines: engines, Comments: comments, Mounts: h.known}
	h.Help = func(e *mount.Entry, pattern string) ([]byte, error) { return h.book.Help(place(e), pattern) }
	return err
}

// known are the mounts that the caller may know of.
func (h *house) known(c *api.Call) ([]reference.Mount, error) {
	entries, err := h.Reachable(c)
	out := make([]reference.Mount, len(entries))
	for i, e := range entries {
		out[i] = place(e)
	}
	return out, err
}

func place(e *mount.Entry) reference.Mount {
	return reference.Mount{Path: e.Path, Type: e.Type, Options: e.Options, Builtin: e.Builtin}
}
