package kv

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/strongroom/strongroom/internal/store"
)

func drawTime(t *rapid.T, name string) time.Time {
	if rapid.Bool().Draw(t, name+" unset") {
		return time.Time{}
	}
	return time.Unix(rapid.Int64Range(-1e9, 9e9).Draw(t, name), rapid.Int64Range(0, 999_999_999).Draw(t, name)).UTC()
}

func drawPairs(t *rapid.T, name string) []pair {
	ps := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) pair {
		return pair{rapid.String().Draw(t, "name"), rapid.String().Draw(t, "value")}
	}), 0, 3).Draw(t, name)
	if len(ps) == 0 {
		return nil
	}
	return ps
}

func drawVersion(t *rapid.T) version {
	v := version{
		number: rapid.Uint64Range(1, 1e6).Draw(t, "number"), created: epoch, state: rapid.SampledFrom([]state{enabled, disabled, destroyed}).Draw(t, "state"),
		gone: drawTime(t, "gone"), dropped: rapid.Bool().Draw(t, "dropped"), kind: kind(rapid.IntRange(0, 2).Draw(t, "kind")), media: rapid.String().Draw(t, "media"), size: rapid.Uint64().Draw(t, "size"),
		chunks: rapid.Uint64Range(0, maxChunks).Draw(t, "chunks"), edits: rapid.Uint64().Draw(t, "edits"), notBefore: drawTime(t, "nbf"), expires: drawTime(t, "exp"),
		destroyAt: drawTime(t, "destroyAt"), erased: drawTime(t, "erased"), token: rapid.String().Draw(t, "token"), tags: drawPairs(t, "tags"),
	}
	if rapid.Bool().Draw(t, "inline") {
		v.inline, v.body = true, rapid.SliceOfN(rapid.Byte(), 0, 30).Draw(t, "body")
		v.size = uint64(len(v.body))
	}
	copy(v.id[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "id"))
	if ls := rapid.SliceOfN(rapid.String(), 0, 3).Draw(t, "labels"); len(ls) > 0 {
		v.labels = ls
	}
	return v
}

func drawSecret(t *rapid.T) *secret {
	s := &secret{
		created: epoch, updated: epoch.Add(time.Second), edits: rapid.Uint64().Draw(t, "edits"), last: rapid.Uint64().Draw(t, "last"), current: rapid.Uint64().Draw(t, "current"),
		casRequired: rapid.Bool().Draw(t, "cas"), metaCASRequired: rapid.Bool().Draw(t, "meta"), maxVersions: rapid.Uint64().Draw(t, "max"),
		deleteAfter: time.Duration(rapid.Int64().Draw(t, "after")), custom: drawPairs(t, "custom"), description: rapid.String().Draw(t, "description"),
		owner: rapid.String().Draw(t, "owner"), tags: drawPairs(t, "tags"), expires: drawTime(t, "expires"), deleted: drawTime(t, "deleted"), purge: drawTime(t, "purge"), extra: drawPairs(t, "extra"),
		versions: rapid.SliceOfN(rapid.Custom(drawVersion), 0, 4).Draw(t, "versions"),
	}
	if rapid.Bool().Draw(t, "planned") {
		s.plan = &plan{enabled: rapid.Bool().Draw(t, "on"), rotator: rapid.String().Draw(t, "rotator"), schedule: rapid.String().Draw(t, "schedule"), every: time.Hour, next: drawTime(t, "next"), last: drawTime(t, "lastRun")}
	}
	return s
}

func TestEveryFieldSurvivesTheStoredForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSecret(t)
		got, err := decodeSecret(s.encode())
		if err != nil || !reflect.DeepEqual(got, s) {
			t.Fatalf("got %+v\nwant %+v\n%v", got, s, err)
		}
		for i := range s.versions {
			var head secret
			var v version
			n := s.versions[i].number
			found, err := decodeVersion(s.encode(), n, &head, &v)
			if err != nil || n != 0 && (!found || !reflect.DeepEqual(v, *s.find(n))) {
				t.Fatalf("version %d: %v %v %+v", n, found, err, v)
			}
		}
	})
}

func TestTimesOutsideTheFormBecomeTheNearest(t *testing.T) {
	for _, c := range []struct{ in, want time.Time }{
		{time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), lastTime}, {time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC), firstTime}, {epoch, epoch},
	} {
		r := reader{b: appendTime(nil, c.in)}
		if got := r.time(); !got.Equal(c.want) {
			t.Errorf("%v became %v, want %v", c.in, got, c.want)
		}
	}
}

func TestNewerFormsAreRefused(t *testing.T) {
	whole := (&secret{created: epoch, updated: epoch, last: 1, current: 1, versions: []version{{number: 1, created: epoch}}}).encode()
	newer := bytes.Clone(whole)
	newer[0] = formatSecret + 1
	if _, err := decodeSecret(newer); !errors.Is(err, errFormat) {
		t.Errorf("format 2: %v", err)
	}
	flagged := append([]byte{formatSecret, 0x80, 0x80, 0x80, 0x01}, whole[2:]...)
	if _, err := decodeSecret(flagged); !errors.Is(err, errFormat) {
		t.Errorf("unknown flag: %v", err)
	}
	for i := range whole {
		if _, err := decodeSecret(whole[:i]); err == nil {
			t.Errorf("a row cut at %d of %d was read", i, len(whole))
		}
	}
	if _, err := decodeSecret(append(bytes.Clone(whole), 0)); !errors.Is(err, errMalformed) {
		t.Errorf("a byte too many: %v", err)
	}
	if _, err := decodeSettings(store.Entry{Rev: 1, Value: append(settings{}.encode(), 1)}); !errors.Is(err, errMalformed) {
		t.Errorf("settings with a byte too many: %v", err)
	}
}

func FuzzStoredForm(f *testing.F) {
	full := &secret{created: epoch, updated: epoch, last: 3, current: 2, custom: []pair{{"a", "b"}}, plan: &plan{next: epoch}, versions: []version{{number: 2, created: epoch, labels: []string{"AWSCURRENT"}, chunks: 3}}}
	f.Add(full.encode())
	f.Add((&secret{created: epoch, updated: epoch}).encode())
	f.Add(trash{due: epoch, payloads: []doomed{{uuid{1}, 2}}}.encode())
	f.Add(settings{maxVersions: 3, deleteAfter: -1}.encode())
	f.Fuzz(func(t *testing.T, row []byte) {
		if s, err := decodeSecret(row); err == nil {
			again, err := decodeSecret(s.encode())
			if err != nil || !bytes.Equal(again.encode(), s.encode()) {
				t.Fatalf("not stable: %v", err)
			}
			var head secret
			var v version
			if found, err := decodeVersion(row, 0, &head, &v); err != nil || found != (s.find(s.current) != nil) {
				t.Fatalf("one version: %v, %v", found, err)
			}
		}
		if tr, err := decodeTrash(row); err == nil {
			if again, err := decodeTrash(tr.encode()); err != nil || !reflect.DeepEqual(again, tr) {
				t.Fatalf("trash is not stable: %v", err)
			}
		}
		if g, err := decodeSettings(store.Entry{Rev: 1, Value: row}); err == nil {
			if again, err := decodeSettings(store.Entry{Rev: 1, Value: g.encode()}); err != nil || again != g {
				t.Fatalf("settings are not stable: %v", err)
			}
		}
	})
}
