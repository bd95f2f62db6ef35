package kv

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/strongroom/strongroom/internal/api"
)

// ideal is what the documentation says of one secret, in maps.
type ideal struct {
	current int
	edits   int
	most    int
	after   time.Duration
	data    map[int]string
	gone    map[int]time.Time
	wrecked map[int]bool
}

// world is the ideal of a mount.
type world struct {
	now     time.Time
	secrets map[string]*ideal
	most    int
	after   time.Duration
	cas     bool
}

func (w *world) at(path string) *ideal {
	s := w.secrets[path]
	if s == nil {
		s = &ideal{data: map[int]string{}, gone: map[int]time.Time{}, wrecked: map[int]bool{}}
	}
	return s
}

// due is when a version written now goes, zero for never.
func (w *world) due(s *ideal) time.Time {
	if w.after < 0 || w.after == 0 && s.after == 0 {
		return time.Time{}
	}
	d := w.after
	if d == 0 || s.after > 0 && s.after < d {
		d = s.after
	}
	return w.now.Add(d)
}

func (w *world) write(path, value string, cas *int) api.Kind {
	s := w.at(path)
	switch {
	case cas == nil && w.cas:
		return api.Invalid
	case cas != nil && *cas != s.current:
		return api.Conflict
	}
	s.current++
	s.data[s.current], s.gone[s.current] = value, w.due(s)
	keep := max(w.most, s.most)
	if keep == 0 {
		keep = 10
	}
	for n := range maps.Clone(s.data) {
		if n <= s.current-keep {
			delete(s.data, n)
			delete(s.gone, n)
			delete(s.wrecked, n)
		}
	}
	w.secrets[path] = s
	return success
}

func (w *world) deleted(s *ideal, n int) bool {
	return !s.gone[n].IsZero() && !w.now.Before(s.gone[n])
}

// readable is a version's data, whether there is such a version, and whether it
// can be read.
func (w *world) read(path string, n int) (data string, there, readable bool) {
	s := w.at(path)
	if n <= 0 {
		n = s.current
	}
	data, there = s.data[n]
	return data, there, there && !s.wrecked[n] && !w.deleted(s, n)
}

func (w *world) each(path string, ns []int, fn func(*ideal, int)) {
	s := w.at(path)
	for _, n := range ns {
		if _, ok := s.data[n]; ok && !s.wrecked[n] {
			fn(s, n)
		}
	}
}

// trial runs the engine and the ideal side by side.
type trial struct {
	*rapid.T
	m *mountAt
	w *world
}

func (r *trial) path() string {
	return rapid.SampledFrom([]string{"a", "a/b", "a/b/c", "a-b", "b/c"}).Draw(r.T, "path")
}

func (r *trial) expect(request, body string, want api.Kind) answer {
	a := r.m.do(request, body)
	if a.kind != want {
		r.Fatalf("%s %s: %v %s, want %v", request, body, a.kind, a.message, want)
	}
	return a
}

func (r *trial) write(*rapid.T) {
	path, value := r.path(), fmt.Sprint(rapid.IntRange(0, 99).Draw(r.T, "value"))
	if n := rapid.SampledFrom([]int{0, 0, 700, inlineBytes}).Draw(r.T, "length"); n > 0 {
		value = `"` + strings.Repeat(value, n) + `"`
	}
	var cas *int
	options := ""
	if rapid.Bool().Draw(r.T, "with cas") {
		n := r.w.at(path).current + rapid.SampledFrom([]int{0, 0, -1, 1}).Draw(r.T, "cas")
		cas, options = &n, fmt.Sprintf(`,"options":{"cas":%d}`, n)
	}
	r.expect("POST data/"+path, `{"data":{"v":`+value+`}`+options+`}`, r.w.write(path, value, cas))
}

func (r *trial) patch(*rapid.T) {
	path, value := r.path(), fmt.Sprint(rapid.IntRange(0, 99).Draw(r.T, "value"))
	if n := rapid.SampledFrom([]int{0, 0, 700, inlineBytes}).Draw(r.T, "length"); n > 0 {
		value = `"` + strings.Repeat(value, n) + `"`
	}
	_, exists := r.w.secrets[path]
	_, _, readable := r.w.read(path, 0)
	want := api.NotFound
	if exists && r.w.cas {
		want = api.Invalid
	} else if readable {
		want = r.w.write(path, value, nil)
	}
	r.expect("PATCH data/"+path, `{"data":{"v":`+value+`}}`, want)
}

func (r *trial) versions(*rapid.T) {
	path := r.path()
	ns := rapid.SliceOfN(rapid.IntRange(0, r.w.at(path).current+1), 1, 4).Draw(r.T, "versions")
	body := `{"versions":` + strings.ReplaceAll(fmt.Sprint(ns), " ", ",") + `}`
	switch op := rapid.SampledFrom([]string{"delete", "undelete", "destroy", "latest"}).Draw(r.T, "op"); op {
	case "latest":
		r.expect("DELETE data/"+path, "", success)
		r.w.each(path, []int{r.w.at(path).current}, r.drop)
	case "delete":
		r.expect("POST delete/"+path, body, success)
		r.w.each(path, ns, r.drop)
	case "undelete":
		r.expect("POST undelete/"+path, body, success)
		r.w.each(path, ns, func(s *ideal, n int) {
			if !s.gone[n].IsZero() {
				s.gone[n] = r.w.due(s)
			}
		})
	case "destroy":
		r.expect("POST destroy/"+path, body, success)
		r.w.each(path, ns, func(s *ideal, n int) { s.wrecked[n] = true })
	}
}

func (r *trial) drop(s *ideal, n int) {
	if !r.w.deleted(s, n) {
		s.gone[n] = r.w.now
	}
}

func (r *trial) metadata(*rapid.T) {
	path := r.path()
	if rapid.IntRange(0, 5).Draw(r.T, "remove") == 0 {
		r.expect("DELETE metadata/"+path, "", success)
		delete(r.w.secrets, path)
		return
	}
	most, after := rapid.IntRange(0, 4).Draw(r.T, "max_versions"), rapid.IntRange(0, 30).Draw(r.T, "delete_version_after")
	r.expect("POST metadata/"+path, fmt.Sprintf(`{"max_versions":%d,"delete_version_after":%d}`, most, after), success)
	s := r.w.at(path)
	s.most, s.after = most, time.Duration(after)*time.Second
	s.edits++
	r.w.secrets[path] = s
}

func (r *trial) config(*rapid.T) {
	most, after := rapid.IntRange(0, 3).Draw(r.T, "max_versions"), rapid.IntRange(-1, 20).Draw(r.T, "delete_version_after")
	cas := rapid.IntRange(0, 3).Draw(r.T, "cas_required") == 0
	r.expect("POST config", fmt.Sprintf(`{"max_versions":%d,"delete_version_after":%d,"cas_required":%v}`, most, after, cas), success)
	r.w.most, r.w.after, r.w.cas = most, time.Duration(after)*time.Second, cas
}

func (r *trial) wait(*rapid.T) {
	r.w.now = r.w.now.Add(time.Duration(rapid.IntRange(1, 15).Draw(r.T, "seconds")) * time.Second)
	r.m.now = r.w.now
}

// check compares all that can be seen.
func (r *trial) check(*rapid.T) {
	kept := 0
	for path, s := range r.w.secrets {
		for n := range s.current + 2 {
			data, there, readable := r.w.read(path, n)
			want := api.NotFound
			if readable {
				want = success
			}
			a := r.expect(fmt.Sprintf("GET data/%s", path), fmt.Sprintf(`{"version":%d}`, n), want)
			if readable && !strings.Contains(a.body, `{"v":`+data+`}`) || there != (a.body != "") {
				r.Fatalf("version %d of %s: %s, want %s", n, path, a.body, data)
			}
			if there && n > 0 && !s.wrecked[n] {
				kept++
			}
		}
		md := r.expect("GET metadata/"+path, "", success).body
		for _, part := range []string{fmt.Sprintf(`"current_version":%d,`, s.current), fmt.Sprintf(`"current_metadata_version":%d,`, s.edits)} {
			if !strings.Contains(md, part) {
				r.Fatalf("metadata of %s: %s lacks %s", path, md, part)
			}
		}
		r.checkHistory(s, md)
	}
	if n := payloads(r.m.TB, r.m.store); n != kept {
		r.Fatalf("%d payloads, want %d", n, kept)
	}
	r.checkScan()
}

// checkHistory compares each version's times.
func (r *trial) checkHistory(s *ideal, md string) {
	var got Metadata
	if err := json.Unmarshal([]byte(md), &got); err != nil {
		r.Fatal(err)
	}
	if len(got.Versions) != len(s.data) {
		r.Fatalf("%d versions, want %d", len(got.Versions), len(s.data))
	}
	for n, h := range got.Versions {
		if gone := s.gone[int(n)]; !h.DeletionTime.Equal(gone) || h.Destroyed != s.wrecked[int(n)] {
			r.Fatalf("version %d: %+v, want deletion %v, destroyed %v", n, h, gone, s.wrecked[int(n)])
		}
	}
}

func (r *trial) checkScan() {
	want := slices.Sorted(maps.Keys(r.w.secrets))
	quoted := `{"keys":["` + strings.Join(want, `","`) + `"]}`
	if got := r.m.do("SCAN metadata", "").body; len(want) > 0 && got != quoted {
		r.Fatalf("scan %s, want %s", got, quoted)
	}
	var found []string
	r.walk("", &found)
	slices.Sort(found)
	if !slices.Equal(found, want) {
		r.Fatalf("walking the lists finds %v, want %v", found, want)
	}
}

// walk finds every secret by listing, two names a page.
func (r *trial) walk(dir string, found *[]string) {
	for after := ""; ; {
		c, ep, req, _, err := r.m.call("LIST", "metadata/"+dir, fmt.Sprintf(`{"limit":2,"after":%q}`, after))
		if err != nil {
			r.Fatal(err)
		}
		resp, err := ep.Invoke(c, req)
		if err != nil {
			r.Fatal(err)
		}
		names := resp.(*api.Keys).Keys
		for _, name := range names {
			if after = name; strings.HasSuffix(name, "/") {
				r.walk(dir+name, found)
			} else {
				*found = append(*found, dir+name)
			}
		}
		if len(names) < 2 {
			return
		}
	}
}

func TestVersionedViewAgainstItsModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		r := &trial{T: rt, m: open(t, "2", openStore(t)), w: &world{now: epoch, secrets: map[string]*ideal{}}}
		rt.Repeat(map[string]func(*rapid.T){
			"write": r.write, "write again": r.write, "patch": r.patch, "versions": r.versions, "versions again": r.versions,
			"metadata": r.metadata, "config": r.config, "wait": r.wait, "": r.check,
		})
	})
}

func TestDetailedListings(t *testing.T) {
	m := open(t, "2", openStore(t))
	for _, path := range []string{"l/B", "l/a", "l/a/b", "l/a-b", "l/b/c"} {
		m.ok("POST data/"+path, `{"data":{}}`)
	}
	one := m.ok("GET metadata/l/a", "")
	run(t, m, []step{
		{"LIST metadata/l", "", success, `{"keys":["B","a","a-b","a/","b/"]}`, ""},
		{"LIST metadata/l", `{"limit":"2","after":"a"}`, success, `{"keys":["a-b","a/"]}`, ""},
		{"LIST metadata/l", `{"limit":-1,"after":"a/"}`, success, `{"keys":["b/"]}`, ""},
		{"LIST metadata/l", `{"limit":"x"}`, api.Invalid, "", ""},
		{"SCAN metadata/l", `{"limit":2,"after":"a"}`, success, `{"keys":["a-b","a/b"]}`, ""},
		{"LIST detailed-metadata/l", `{"limit":1,"after":"B"}`, success, `{"keys":["a"],"key_info":{"a":` + one + `}}`, ""},
		{"LIST detailed-metadata/l", `{"after":"a-b"}`, success, `{"keys":["a/","b/"],"key_info":{"a/":{},"b/":{}}}`, ""},
		{"SCAN detailed-metadata/", `{"after":"l/a-b","limit":1}`, success, `{"keys":["l/a/b"],"key_info":{"l/a/b":` + one + `}}`, ""},
	})
}
