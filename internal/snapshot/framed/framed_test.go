package framed

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
)

func fixedMAC([]byte) ([]byte, error) { return bytes.Repeat([]byte{7}, MACBytes), nil }

type row struct{ key, value string }

func someRows(n, size int) []row {
	var rows []row
	for i := range n {
		rows = append(rows, row{fmt.Sprintf("d/root/%04d", i), strings.Repeat(string(rune('a'+i%26)), size)})
	}
	return rows
}

func made(t testing.TB, rows []row) []byte {
	t.Helper()
	var b bytes.Buffer
	write(t, &b, rows)
	return b.Bytes()
}

func write(t testing.TB, out io.Writer, rows []row) {
	t.Helper()
	w, err := NewWriter(out, Header{Cluster: "c", Format: 1, Revision: 9, Taken: time.Unix(1, 0).UTC(), Version: "1", Engine: "inmem", KeySlots: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows {
		if err := w.Row(r.key, []byte(r.value)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(fixedMAC); err != nil {
		t.Fatal(err)
	}
}

func inArchive(t testing.TB, rows []row) []byte {
	t.Helper()
	var b bytes.Buffer
	a, err := NewArchive(&b)
	if err != nil {
		t.Fatal(err)
	}
	write(t, a, rows)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func read(b []byte) ([]row, *Reader, error) {
	r, err := NewReader(bytes.NewReader(b))
	if err != nil {
		return nil, nil, err
	}
	var rows []row
	for {
		key, value, err := r.Next()
		if errors.Is(err, io.EOF) {
			return rows, r, nil
		}
		if err != nil {
			return rows, r, err
		}
		rows = append(rows, row{key, string(value)})
	}
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	for name, rows := range map[string][]row{
		"none": nil, "few": someRows(3, 10), "empty value": {{"a", ""}}, "many frames": someRows(300, 9000), "long": {{"k", strings.Repeat("v", 900<<10)}},
	} {
		for form, b := range map[string][]byte{"bare": made(t, rows), "archive": inArchive(t, rows)} {
			got, r, err := read(b)
			if err != nil {
				t.Fatalf("%s, %s: %v", name, form, err)
			}
			if fmt.Sprint(got) != fmt.Sprint(rows) {
				t.Errorf("%s, %s: other rows came out", name, form)
			}
			tally := NewTally()
			for _, w := range rows {
				tally.Row(w.key, []byte(w.value))
			}
			c, mac := r.Claim()
			if want := tally.Claim(c.Header); !bytes.Equal(c.Message(), want.Message()) || len(mac) != MACBytes || r.Header().Cluster != "c" {
				t.Errorf("%s, %s: the claim is not about the rows", name, form)
			}
		}
	}
}

func TestRowsOutOfOrderAreNotWritten(t *testing.T) {
	w, err := NewWriter(io.Discard, Header{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Row("b", nil), w.Row("c", nil)); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"", "a", "c", strings.Repeat("x", maxKey+1)} {
		if w.Row(key, nil) == nil {
			t.Errorf("a row with the key %.3q was taken", key)
		}
	}
	if w.Row("d", make([]byte, maxFrame)) == nil {
		t.Error("a row that no reader takes was written")
	}
}

// refuse fails unless a snapshot is refused as no, a short or a damaged one.
func refuse(t *testing.T, what string, b []byte) {
	t.Helper()
	_, _, err := read(b)
	if !errors.Is(err, ErrForeign) && !errors.Is(err, ErrShort) && !errors.Is(err, ErrDamaged) {
		t.Fatalf("%s: %v", what, err)
	}
}

func TestEveryChangedByteIsNoticed(t *testing.T) {
	good := made(t, someRows(4, 20))
	for at := range good {
		for _, mask := range []byte{1, 0x80, 0xff} {
			bad := bytes.Clone(good)
			bad[at] ^= mask
			refuse(t, fmt.Sprintf("byte %d changed by %#x", at, mask), bad)
		}
	}
}

func TestEveryCutIsNoticed(t *testing.T) {
	for form, good := range map[string][]byte{"bare": made(t, someRows(4, 20)), "archive": inArchive(t, someRows(4, 20))} {
		for n := range good {
			refuse(t, fmt.Sprintf("%s, cut after %d bytes", form, n), good[:n])
		}
		refuse(t, form+", a byte more", append(bytes.Clone(good), 0))
		refuse(t, form+", twice", append(bytes.Clone(good), good...))
	}
}

// An archive's bytes that carry nothing, such as gzip's notes, may change.
func TestAChangedArchiveIsNoticedOrMeansTheSame(t *testing.T) {
	rows := someRows(4, 20)
	good := inArchive(t, rows)
	noticed := 0
	for at := range good {
		bad := bytes.Clone(good)
		bad[at] ^= 0x41
		got, r, err := read(bad)
		if err != nil {
			noticed++
			continue
		}
		if _, mac := r.Claim(); fmt.Sprint(got) != fmt.Sprint(rows) || len(mac) != MACBytes {
			t.Fatalf("byte %d changed: other rows were taken for whole", at)
		}
	}
	if noticed < len(good)-10 {
		t.Errorf("%d of %d changed bytes were noticed", noticed, len(good))
	}
}

func frames(b []byte) [][]byte {
	var out [][]byte
	for at := len(magic); at < len(b); {
		n := int(b[at+1])<<24 | int(b[at+2])<<16 | int(b[at+3])<<8 | int(b[at+4])
		end := at + prefixBytes + n + SumBytes
		out = append(out, b[at:end])
		at = end
	}
	return out
}

func joined(parts ...[]byte) []byte { return append([]byte(magic), bytes.Join(parts, nil)...) }

func TestFramesCannotBeMoved(t *testing.T) {
	one, two := frames(made(t, someRows(60, 9000))), frames(made(t, someRows(61, 9001)))
	if len(one) < 4 {
		t.Fatalf("only %d frames", len(one))
	}
	last := len(one) - 1
	if _, _, err := read(joined(one...)); err != nil {
		t.Fatal("the control is refused:", err)
	}
	refuse(t, "swapped", joined(one[0], one[2], one[1], one[last]))
	refuse(t, "left out", joined(one[0], one[2], one[last]))
	refuse(t, "twice", joined(one[0], one[1], one[1], one[2], one[last]))
	refuse(t, "no rows", joined(one[0], one[last]))
	refuse(t, "spliced", joined(append(append([][]byte{}, one[:2]...), two[2:]...)...))
	refuse(t, "another's trailer", joined(append(append([][]byte{}, one[:last]...), two[len(two)-1])...))
	refuse(t, "no header", joined(one[1:]...))
}

// forge makes frames whose sums are right.
func forge(parts ...any) []byte {
	out := []byte(magic)
	c := newChain()
	for i := 0; i < len(parts); i += 2 {
		kind, payload := byte(parts[i].(rune)), []byte(parts[i+1].(string))
		n := len(payload)
		prefix := []byte{kind, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
		c.next(prefix, payload)
		out = append(append(append(out, prefix...), payload...), c[:]...)
	}
	return out
}

func TestRightSumsOverWrongFrames(t *testing.T) {
	aRow := string(appendRow(nil, "k", []byte("v")))
	for name, b := range map[string][]byte{
		"header no JSON":    forge('H', "{"),
		"rows out of order": forge('H', "{}", 'R', aRow+string(appendRow(nil, "a", nil)), 'T', strings.Repeat("\x00", trailerBytes)),
		"a key twice":       forge('H', "{}", 'R', aRow, 'R', aRow, 'T', strings.Repeat("\x00", trailerBytes)),
		"an empty key":      forge('H', "{}", 'R', string(appendRow(nil, "", nil))),
		"an empty frame":    forge('H', "{}", 'R', ""),
		"a length too far":  forge('H', "{}", 'R', "\xff\xff\xff\xffk"),
		"half a row":        forge('H', "{}", 'R', aRow[:6]),
		"another kind":      forge('H', "{}", 'X', aRow),
		"a second header":   forge('H', "{}", 'H', "{}"),
		"counts of others":  forge('H', "{}", 'R', aRow, 'T', strings.Repeat("\x00", trailerBytes)),
		"a short trailer":   forge('H', "{}", 'T', "x"),
		"a later version":   []byte("strongroom snapshot 2\n"),
		"nothing":           nil,
		"text":              []byte("hello, world, this is a text that is no snapshot"),
	} {
		refuse(t, name, b)
	}
}

func TestAnArchiveMustNotGrow(t *testing.T) {
	var b bytes.Buffer
	zip, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	inner, err := gzip.NewReader(bytes.NewReader(inArchive(t, someRows(9, 900<<10))))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(zip, inner); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := read(b.Bytes()); !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), "compressed") {
		t.Errorf("%d bytes were read as %d MiB: %v", b.Len(), 9*900>>10, err)
	}
}

func FuzzReader(f *testing.F) {
	f.Add(made(f, nil))
	f.Add(made(f, someRows(3, 10)))
	f.Add(inArchive(f, someRows(3, 10)))
	f.Add(forge('H', "{}", 'R', string(appendRow(nil, "k", []byte("v")))))
	f.Add([]byte(gzipMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		rows, r, err := read(b)
		if err != nil {
			if !errors.Is(err, ErrForeign) && !errors.Is(err, ErrShort) && !errors.Is(err, ErrDamaged) {
				t.Fatalf("an unworded error: %v", err)
			}
			return
		}
		tally := NewTally()
		for _, w := range rows {
			tally.Row(w.key, []byte(w.value))
		}
		c, _ := r.Claim()
		if want := tally.Claim(c.Header); !bytes.Equal(want.Message(), c.Message()) {
			t.Fatal("what was taken for whole claims other rows")
		}
	})
}
