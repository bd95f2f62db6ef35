package kv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
	"github.com/strongroom/strongroom/internal/store/storetest"
)

const racers = 64

// race runs n calls at once and counts how each ended.
func race(m *mountAt, n int, request func(i int) (string, string)) map[api.Kind]int {
	var mu sync.Mutex
	ends := map[api.Kind]int{}
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			a := m.do(request(i))
			mu.Lock()
			defer mu.Unlock()
			ends[a.kind]++
		})
	}
	wg.Wait()
	return ends
}

func TestCheckAndSetLetsOneRacerThrough(t *testing.T) {
	m := open(t, "2", openStore(t))
	for round := range 5 {
		ends := race(m, racers, func(i int) (string, string) {
			return "POST data/a", fmt.Sprintf(`{"data":{"by":%d},"options":{"cas":%d}}`, i, round)
		})
		if ends[success] != 1 || ends[api.Conflict] != racers-1 {
			t.Fatalf("round %d: %v", round, ends)
		}
	}
	if n := payloads(t, m.store); n != 5 {
		t.Errorf("%d payloads of 5 versions: a loser left one behind", n)
	}
}

func TestEveryPatchOfManyIsKept(t *testing.T) {
	m := open(t, "2", openStore(t))
	m.ok("POST data/a", `{"data":{}}`)
	ends := race(m, 16, func(i int) (string, string) { return "PATCH data/a", fmt.Sprintf(`{"data":{"k%d":1}}`, i) })
	if ends[success] != 16 {
		t.Fatalf("%v", ends)
	}
	if n := strings.Count(m.ok("GET data/a", ""), `"k`); n != 16 {
		t.Errorf("%d of 16 patches are there", n)
	}
}

// faulty loses the answer of commits, or refuses them.
type faulty struct {
	store.Store
	lose   bool // commit, then say that it failed
	refuse int  // the n-th commit from now fails unmade; 0: none
}

var errLost = errors.New("connection lost")

func (f *faulty) Commit(ctx context.Context, cs []store.Check, ws []store.Write) (store.Rev, error) {
	if f.refuse > 0 {
		if f.refuse--; f.refuse == 0 {
			return 0, errLost
		}
	}
	rev, err := f.Store.Commit(ctx, cs, ws)
	if err == nil && f.lose {
		return 0, errLost
	}
	return rev, err
}

func TestUnknownOutcomes(t *testing.T) {
	f := &faulty{Store: openStore(t)}
	m := open(t, "2", f)
	f.lose = true
	for _, s := range [][2]string{
		{"POST data/a", `{"data":{"n":1}}`}, {"POST metadata/a", `{"max_versions":3}`}, {"POST delete/a", `{"versions":[1]}`}, {"DELETE metadata/a", ""},
	} {
		if a := m.do(s[0], s[1]); a.kind != success {
			t.Errorf("%s was made, and said %v %s", s[0], a.kind, a.message)
		}
	}
	f.lose, f.refuse = false, 1
	if a := m.do("POST data/a", `{"data":{"n":2}}`); a.kind != api.Internal {
		t.Errorf("a write that was not made said %v", a.kind)
	}
	if a := m.do("GET data/a", ""); a.kind != api.NotFound {
		t.Errorf("a write that failed can be read: %+v", a)
	}
}

// big is the body of a write with a payload of many rows.
func big(n int) string { return `{"data":{"v":"` + strings.Repeat("x", n) + `"}}` }

func TestLargeValuesAreChunked(t *testing.T) {
	m := open(t, "2", openStore(t))
	want := strings.Repeat("x", 3*chunkBytes)
	m.ok("POST data/big", big(3*chunkBytes))
	if got := m.ok("GET data/big", ""); !strings.Contains(got, want) {
		t.Fatalf("%d bytes came back", len(got))
	}
	if n := len(rows(t, m.store, prefixPayload)); n != 4 {
		t.Errorf("%d chunks", n)
	}
	if a := m.do("POST data/big", strings.TrimSuffix(big(3*chunkBytes), "}")+`,"options":{"cas":7}}`); a.kind != api.Conflict {
		t.Errorf("check-and-set of a large value: %+v", a.kind)
	}
	if n := len(rows(t, m.store, prefixPayload)); n != 4 {
		t.Errorf("%d chunks after a write that failed", n)
	}
	m.ok("DELETE metadata/big", "")
	if left := rows(t, m.store, ""); len(left) != 0 {
		t.Errorf("%d rows left", len(left))
	}
	if a := m.do("POST data/big", big(maxPayload)); a.kind != api.TooLarge {
		t.Errorf("a value over the limit: %v", a.kind)
	}
}

// A write of many rows that stops anywhere, as where the process is killed, is never
// seen, and is erased within an hour at a moment that it has asked for before it
// wrote anything.
func TestTornWritesAreSweptUp(t *testing.T) {
	torn := 0
	for cut := range 5 {
		for _, after := range []bool{false, true} {
			f := &storetest.Mortal{Store: openStore(t)}
			f.Doom(cut, after)
			m := open(t, "2", f)
			m.do("POST data/big", big(2*chunkBytes))
			before := len(rows(t, f, ""))
			f.Revive()
			if before > 0 && (len(m.upkeep.asked) != 1 || m.upkeep.asked[0].After(m.now.Add(50*time.Minute))) {
				t.Errorf("cut %d: upkeep is asked for at %v", cut, m.upkeep.asked)
			}
			if a := m.do("GET data/big", ""); a.kind == success {
				continue // it was complete
			}
			torn += before
			for _, at := range m.upkeep.asked {
				if err := Sweep(t.Context(), f, at); err != nil {
					t.Fatal(err)
				}
			}
			if left := rows(t, f, ""); len(left) != 0 {
				t.Errorf("cut %d: %d rows left after the sweep", cut, len(left))
			}
		}
	}
	if torn == 0 {
		t.Error("nothing was torn")
	}
}

// What many versions left is erased too when the process is killed between the
// commit that made them unreachable and the sweep.
func TestTornErasuresAreSweptUp(t *testing.T) {
	f := &storetest.Mortal{Store: openStore(t)}
	m := open(t, "2", f)
	m.ok("POST metadata/a", `{"max_versions":250}`)
	for range 250 {
		m.ok("POST data/a", big(inlineBytes))
	}
	f.Doom(0, true)
	m.do("DELETE metadata/a", "")
	f.Revive()
	if a := m.do("GET data/a", ""); a.kind != api.NotFound || len(rows(t, f, prefixPayload)) != 250 {
		t.Fatalf("%v with %d payloads: nothing was torn", a.kind, len(rows(t, f, prefixPayload)))
	}
	if len(m.upkeep.asked) != 1 {
		t.Fatalf("upkeep is asked for at %v", m.upkeep.asked)
	}
	if err := Sweep(t.Context(), f, m.upkeep.asked[0]); err != nil {
		t.Fatal(err)
	}
	if left := rows(t, f, ""); len(left) != 0 {
		t.Errorf("%d rows left after the sweep", len(left))
	}
}

// Nothing that could be left behind is written unless it is certain to be erased.
func TestNothingIsStagedWithoutUpkeep(t *testing.T) {
	m := open(t, "2", openStore(t))
	m.upkeep.fail = errLost
	if a := m.do("POST data/big", big(2*chunkBytes)); a.kind != api.Internal {
		t.Errorf("%v", a.kind)
	}
	if left := rows(t, m.store, ""); len(left) != 0 {
		t.Errorf("%d rows were written", len(left))
	}
}

func TestDamagedTrashStopsNoOther(t *testing.T) {
	f := &faulty{Store: openStore(t), refuse: 3}
	m := open(t, "2", f)
	m.do("POST data/big", big(2*chunkBytes))
	before := len(rows(t, f, ""))
	if _, err := f.Commit(t.Context(), nil, []store.Write{{Key: prefixTrash + "0", Value: []byte("?")}}); err != nil {
		t.Fatal(err)
	}
	if err := Sweep(t.Context(), f, m.now.Add(staging)); err == nil {
		t.Error("the damage is not told")
	}
	if left := rows(t, f, ""); before == 0 || len(left) != 1 {
		t.Errorf("%d rows before, %d after", before, len(left))
	}
	m.ok("POST data/big", big(2*chunkBytes))
}

// slow sweeps the store, much later, just before a write's last commit.
type slow struct {
	store.Store
	at time.Time
}

func (s *slow) Commit(ctx context.Context, cs []store.Check, ws []store.Write) (store.Rev, error) {
	for _, w := range ws {
		if strings.HasPrefix(w.Key, prefixSecret) {
			if err := Sweep(ctx, s.Store, s.at); err != nil {
				return 0, err
			}
		}
	}
	return s.Store.Commit(ctx, cs, ws)
}

func TestAWriteThatWasSweptIsNotMade(t *testing.T) {
	s := &slow{openStore(t), epoch.Add(staging)}
	m := open(t, "2", s)
	if a := m.do("POST data/big", big(2*chunkBytes)); a.kind != api.Unavailable {
		t.Errorf("a write whose chunks are gone: %v %s", a.kind, a.message)
	}
	s.at = epoch.Add(staging - 1)
	m.ok("POST data/big", big(2*chunkBytes))
	m.ok("GET data/big", "")
}

func TestManyPayloadsAreErased(t *testing.T) {
	m := open(t, "2", openStore(t))
	m.ok("POST metadata/a", `{"max_versions":250}`)
	for range 250 {
		m.ok("POST data/a", `{"data":`+padded(`"a":1`)+`}`)
	}
	m.ok("POST metadata/a", `{"max_versions":2}`)
	m.ok("POST data/a", `{"data":{}}`)
	if n := payloads(t, m.store); n != 2 {
		t.Errorf("%d payloads of 2 versions", n)
	}
	if n := len(rows(t, m.store, prefixTrash)); n != 0 {
		t.Errorf("%d trash rows left", n)
	}
}

// An older payload put back in a newer one's place is detected, and named.
func TestAPayloadPutBackIsDetected(t *testing.T) {
	m := open(t, "2", openStore(t))
	m.ok("POST data/a", `{"data":`+padded(`"n":1`)+`}`)
	old := rows(t, m.store, prefixPayload)
	m.ok("POST data/a", `{"data":`+padded(`"n":2`)+`}`)
	m.ok("POST data/b", `{"data":`+padded(`"n":2`)+`}`)
	put := func(change func(key, value string) []byte) {
		for key, value := range rows(t, m.store, prefixPayload) {
			if old[key] != "" {
				continue
			}
			if _, err := m.store.Commit(t.Context(), nil, []store.Write{{Key: key, Value: change(key, value)}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, change := range map[string]func(key, value string) []byte{
		"old":   func(string, string) []byte { return []byte(firstValue(old)) },
		"short": func(_, v string) []byte { return []byte(v)[:len(v)-1] },
		"empty": func(string, string) []byte { return []byte{} },
	} {
		put(change)
		a := m.do("GET data/a", "")
		if a.kind != api.Internal || !strings.Contains(a.message, `"a"`) || !strings.Contains(a.message, store.ErrCorrupt.Error()) {
			t.Errorf("%s: %+v", name, a)
		}
	}
	m.ok("GET data/a", `{"version":1}`)
}

func firstValue(m map[string]string) string {
	for _, v := range m {
		return v
	}
	return ""
}

func TestDamageStaysWhereItIs(t *testing.T) {
	m := open(t, "2", openStore(t))
	m.ok("POST data/a", `{"data":{"n":1}}`)
	m.ok("POST data/b", `{"data":{"n":1}}`)
	row := bytes.Clone([]byte(rows(t, m.store, prefixSecret)[prefixSecret+"a"]))
	for _, bad := range [][]byte{row[:len(row)-1], append([]byte{9}, row[1:]...)} {
		if _, err := m.store.Commit(t.Context(), nil, []store.Write{{Key: prefixSecret + "a", Value: bad}}); err != nil {
			t.Fatal(err)
		}
		for _, request := range []string{"GET data/a", "GET metadata/a", "POST data/a", "DELETE data/a"} {
			if a := m.do(request, `{"data":{}}`); a.kind != api.Internal || !strings.Contains(a.message, `secret "a"`) {
				t.Errorf("%s: %+v", request, a)
			}
		}
		m.ok("GET data/b", "")
		m.ok("LIST metadata", "")
	}
}

func TestPathsHaveALimit(t *testing.T) {
	m := open(t, "2", openStore(t))
	long := strings.Repeat("a", maxPath+1)
	for _, request := range []string{"GET data/", "POST data/", "PATCH data/", "DELETE data/", "GET metadata/"} {
		if a := m.do(request+long, `{"data":{}}`); a.kind != api.Invalid {
			t.Errorf("%s: %v %s", request, a.kind, a.message)
		}
	}
	m.ok("POST data/"+long[1:], `{"data":{}}`)
}

func TestVersionsHaveALimit(t *testing.T) {
	m := open(t, "2", openStore(t))
	s := &secret{created: epoch, updated: epoch, maxVersions: 1 << 20}
	for i := range maxVersions {
		s.add(version{created: epoch, id: uuid{byte(i), byte(i >> 8)}})
	}
	if _, err := m.store.Commit(t.Context(), nil, []store.Write{{Key: prefixSecret + "a", Value: s.encode()}}); err != nil {
		t.Fatal(err)
	}
	m.ok("POST data/a", `{"data":{}}`)
	got, err := decodeSecret([]byte(rows(t, m.store, prefixSecret)[prefixSecret+"a"]))
	if err != nil || len(got.versions) != maxVersions || got.oldest() != 2 || got.last != maxVersions+1 {
		t.Fatalf("%d versions from %d to %d, %v", len(got.versions), got.oldest(), got.last, err)
	}
}

func BenchmarkReadV2(b *testing.B) {
	m := open(b, "2", openStore(b))
	for range 10 {
		m.ok("POST data/app/db", `{"data":{"username":"app","password":"correct horse battery staple"}}`)
	}
	c, ep, req, _, err := m.call("GET", "data/app/db", "")
	if err != nil {
		b.Fatal(err)
	}
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		resp, err := ep.Invoke(c, req)
		if err != nil {
			b.Fatal(err)
		}
		buf = resp.(api.Appender).AppendJSON(buf[:0])
	}
}

func BenchmarkWriteV2(b *testing.B) {
	m := open(b, "2", openStore(b))
	b.ReportAllocs()
	for b.Loop() {
		c, ep, req, _, err := m.call("POST", "data/app/db", `{"data":{"username":"app","password":"correct horse battery staple"}}`)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := ep.Invoke(c, req); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkList1000(b *testing.B) {
	m := open(b, "2", openStore(b))
	for i := range 1000 {
		m.ok("POST data/app/secret-"+strconv.Itoa(i), `{"data":{}}`)
	}
	c, ep, req, _, err := m.call("LIST", "metadata/app", "")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		resp, err := ep.Invoke(c, req)
		if err != nil || len(resp.(*api.Keys).Keys) != 1000 {
			b.Fatal(err)
		}
	}
}
