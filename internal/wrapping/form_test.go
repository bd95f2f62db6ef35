package wrapping

import (
	"errors"
	"reflect"
	"testing"

	"github.com/strongroom/strongroom/internal/store"
)

// FuzzDecode reads anything as a stored answer: it is read to the same answer
// again once it has been written, or is corrupt.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{}`, `{"data":{"a":1}}`, `{"auth":{"ClientToken":"t","Accessor":"a"}}`, `{"raw":{"Body":"AAE="}}`, `{"warnings":["w"]}`, `null`, `[`, ``} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := decode(b)
		if err != nil {
			if !errors.Is(err, store.ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		again, err := encode(a)
		if err != nil {
			t.Fatal(err)
		}
		c, err := decode(again)
		if err != nil {
			t.Fatal(err)
		}
		last, err := encode(c)
		if err != nil || string(last) != string(again) || (a.Auth != nil && !reflect.DeepEqual(a.Auth.ClientToken, c.Auth.ClientToken)) {
			t.Fatalf("%s became %s: %v", again, last, err)
		}
	})
}
