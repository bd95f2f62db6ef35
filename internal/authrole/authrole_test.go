package authrole

import (
	"errors"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

// row is a role that counts what was done to it.
type row struct {
	Changes int  `json:"changes"`
	Maker   bool `json:"maker,omitempty"` // who is meddled with has made the role
}

func open(t *testing.T) *api.Call {
	t.Helper()
	s := mem.Open()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &api.Call{Context: t.Context(), Store: s}
}

// count changes a role, after meddle has done what another does meanwhile.
func count(t *testing.T, c *api.Call, meddle func()) (*row, error) {
	t.Helper()
	return Change(c, "r", func(_ *store.Tx, r *row) error {
		if meddle != nil {
			meddle()
			if r.Changes == 0 {
				r.Maker = true
			}
		}
		r.Changes++
		return nil
	})
}

// What another has changed meanwhile is what is changed, and what was tried before it is not in it.
func TestChangeMeetsAnother(t *testing.T) {
	c := open(t)
	once := true
	r, err := count(t, c, func() {
		if once {
			once = false
			if _, err := count(t, c, nil); err != nil {
				t.Error(err)
			}
		}
	})
	if err != nil || r.Changes != 2 {
		t.Errorf("answers %+v, %v, after two changes", r, err)
	}
	if kept, err := Find[row](c, "r"); err != nil || kept.Changes != 2 || kept.Maker {
		t.Errorf("keeps %+v, %v", kept, err)
	}
	if _, err := Change(c, "r", func(_ *store.Tx, r *row) error { r.Changes = 9; return api.ErrDenied() }); api.KindOf(err) != api.Denied {
		t.Errorf("a change that is refused: %v", err)
	}
	if kept, err := Find[row](c, "r"); err != nil || kept.Changes != 2 {
		t.Errorf("a change that was refused is kept: %+v, %v", kept, err)
	}
}

func TestRecall(t *testing.T) {
	c := open(t)
	if _, err := count(t, c, nil); err != nil {
		t.Fatal(err)
	}
	a, err := Keep(&api.Auth{}, "r", &ByName{"ann"})
	if err != nil {
		t.Fatal(err)
	}
	s := &api.Session{Private: a.Private}
	if r, who, err := Recall[row, ByName](c, s); err != nil || r == nil || who.Name != "ann" {
		t.Errorf("recalls %+v of %+v, %v", who, r, err)
	}
	if _, err := Delete(struct{}{}, c, &ByName{"r"}); err != nil {
		t.Fatal(err)
	}
	if r, _, err := Recall[row, ByName](c, s); err != nil || r != nil {
		t.Errorf("of a role that is gone it recalls %+v, %v", r, err)
	}
	for _, text := range []string{"", "{}", "x", `{"who":{"Name":"ann"}}`} {
		if _, _, err := Recall[row, ByName](c, &api.Session{Private: []byte(text)}); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("of %q: %v", text, err)
		}
	}
}

// What a login lacks is told with what to send.
func TestComplete(t *testing.T) {
	token := api.NewSecret("x")
	for _, c := range []struct {
		role  api.Name
		token api.Secret
		says  string
	}{{"", token, "missing role; send the name"}, {"", api.Secret{}, "missing role"}, {"r", api.Secret{}, "missing jwt; send a token"}, {"r", token, ""}} {
		err := Complete(c.role, c.token, "send a token")
		if (err == nil) != (c.says == "") || err != nil && (api.KindOf(err) != api.Invalid || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%q: %v", c.says, err)
		}
	}
}
