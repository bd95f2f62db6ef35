package store_test

import (
	"context"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/mem"
)

// counted counts the entries that List hands out.
type counted struct {
	store.Store
	entries int
}

func (c *counted) List(ctx context.Context, r store.Range) ([]store.Entry, error) {
	es, err := c.Store.List(ctx, r)
	c.entries += len(es)
	return es, err
}

func fill(t testing.TB, keys []string) *counted {
	t.Helper()
	s := mem.Open()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	for part := range slices.Chunk(keys, store.MaxWrites) {
		ws := make([]store.Write, len(part))
		for i, k := range part {
			ws[i] = store.Write{Key: k, Value: []byte("v")}
		}
		if _, err := s.Commit(context.Background(), nil, ws); err != nil {
			t.Fatal(err)
		}
	}
	return &counted{Store: s}
}

// children is what a listing must say, by definition.
func children(keys []string, dir, after string) []string {
	seen := map[string]bool{}
	for _, k := range keys {
		if rest, ok := strings.CutPrefix(k, dir); ok && rest != "" {
			if head, _, deep := strings.Cut(rest, "/"); deep {
				rest = head + "/"
			}
			seen[rest] = true
		}
	}
	var out []string
	for k := range seen {
		if after == "" || k > after {
			out = append(out, k)
		}
	}
	slices.Sort(out)
	return out
}

func TestChildrenAndDescendantsAgainstTheirDefinition(t *testing.T) {
	name := rapid.StringMatching(`[ab./-]{1,6}`)
	rapid.Check(t, func(rt *rapid.T) {
		keys := rapid.SliceOfNDistinct(name, 0, 40, rapid.ID[string]).Draw(rt, "keys")
		s := fill(t, keys)
		dir := rapid.SampledFrom([]string{"", "a/", "a/b/", "-/", "/"}).Draw(rt, "dir")
		after := rapid.OneOf(rapid.Just(""), name).Draw(rt, "after")
		limit := rapid.IntRange(1, 5).Draw(rt, "limit")
		ctx := context.Background()
		want := children(keys, dir, after)
		got, err := store.Children(ctx, s, dir, after, 0)
		if err != nil || !slices.Equal(got, want) {
			rt.Fatalf("children of %q after %q: %q, want %q (%v)", dir, after, got, want, err)
		}
		var pages []string
		for at := after; ; at = pages[len(pages)-1] {
			page, err := store.Children(ctx, s, dir, at, limit)
			if err != nil || len(page) > limit {
				rt.Fatalf("page of %d: %q, %v", limit, page, err)
			}
			pages = append(pages, page...)
			if len(page) < limit {
				break
			}
		}
		if !slices.Equal(pages, want) {
			rt.Fatalf("pages %q, want %q", pages, want)
		}
		checkDescendants(rt, s, keys, dir, limit)
	})
}

func checkDescendants(rt *rapid.T, s store.Store, keys []string, dir string, limit int) {
	var want, pages []string
	for _, k := range keys {
		if rest, ok := strings.CutPrefix(k, dir); ok && rest != "" {
			want = append(want, rest)
		}
	}
	slices.Sort(want)
	all, err := store.Descendants(context.Background(), s, dir, "", 0)
	if err != nil || !slices.Equal(all, want) {
		rt.Fatalf("below %q: %q, want %q (%v)", dir, all, want, err)
	}
	for after := ""; ; after = pages[len(pages)-1] {
		page, err := store.Descendants(context.Background(), s, dir, after, limit)
		if err != nil {
			rt.Fatal(err)
		}
		pages = append(pages, page...)
		if len(page) < limit {
			break
		}
	}
	if !slices.Equal(pages, want) {
		rt.Fatalf("pages below %q: %q, want %q", dir, pages, want)
	}
}

// A listing passes over what lies below a directory.
func TestChildrenReadNoSubtrees(t *testing.T) {
	var keys []string
	for _, dir := range []string{"x/a/", "x/b/", "x/c/"} {
		for i := range 5000 {
			keys = append(keys, dir+strconv.Itoa(i))
		}
	}
	s := fill(t, append(keys, "x/z"))
	got, err := store.Children(context.Background(), s, "x/", "", 0)
	if err != nil || !reflect.DeepEqual(got, []string{"a/", "b/", "c/", "z"}) {
		t.Fatalf("%q, %v", got, err)
	}
	if s.entries > 1200 {
		t.Errorf("read %d entries of 15001 to name 4", s.entries)
	}
}

func TestChildrenOverManyPages(t *testing.T) {
	keys := make([]string, 0, 3000)
	for i := range 3000 {
		keys = append(keys, "d/"+strconv.Itoa(100000+i))
	}
	s := fill(t, keys)
	got, err := store.Children(context.Background(), s, "d/", "", 0)
	if err != nil || !slices.Equal(got, children(keys, "d/", "")) {
		t.Fatalf("%d names, %v", len(got), err)
	}
	if got, err = store.Children(context.Background(), s, "d/", "", 2000); err != nil || len(got) != 2000 {
		t.Fatalf("%d names of 2000, %v", len(got), err)
	}
}
