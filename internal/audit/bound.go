package audit

import "strings"

// limits are how much of one JSON value an entry shows, leaf by leaf. A hash has
// 76 bytes and a leaf may be one, so leaves bound what a caller can write into
// the log for little. A value beyond either limit is shown as one hash of it all.
type limits struct {
	leaves int // hashes
	bytes  int // of what is shown
}

var (
	// fullLimits are for requests that somebody was allowed to make.
	fullLimits = limits{512, 64 << 10}
	// strictLimits are for those of nobody, and for refused ones: anybody can make
	// them, and each is in the log twice.
	strictLimits = limits{16, 64 << 10}
)

const (
	maxText   = 8 << 10  // bytes of one shown text or list outside of data
	maxRaw    = 64 << 10 // bytes of one text that a raw log shows
	maxValues = 8        // values of one header that are shown one by one
)

func (e *Entry) limits() limits {
	if e.Auth.Judged && e.Auth.Allowed {
		return fullLimits
	}
	return strictLimits
}

// leaf writes the hash of a value; it reports whether there may be one more.
// Where elements are only counted there is nothing to hash.
func (w *walker) leaf(value []byte) bool {
	if w.counting {
		return true
	}
	if w.leaves++; w.leaves > w.limit.leaves {
		w.over = true
		return false
	}
	w.hashed(value)
	return true
}

// fits reports whether what was written so far may be shown.
func (w *walker) fits() bool {
	if !w.counting && len(w.out)-w.start > w.limit.bytes {
		w.over = true
	}
	return !w.over
}

// whole replaces all that was written by one hash of the value: as a member
// elided where the value is too large, and bare where it is not JSON.
func (w *walker) whole() []byte {
	w.out = w.out[:w.start]
	if !w.over {
		w.hashed(w.in)
		return w.out
	}
	w.out = append(w.out, `{"elided":`...)
	w.hashed(w.in)
	return append(w.out, '}')
}

// elide replaces what was written from start on, if it is too long, by its hash
// between before and after.
func (b *builder) elide(start int, before, after string) {
	if len(b.out)-start <= maxText {
		return
	}
	hash := b.mac.append(nil, b.out[start:])
	b.out = append(append(append(b.out[:start], before...), hash...), after...)
}

// headerTexts are a header's values; of a header that has many, all in one.
func headerTexts(vs []string) []string {
	if len(vs) > maxValues {
		return []string{strings.Join(vs, ", ")}
	}
	return vs
}
