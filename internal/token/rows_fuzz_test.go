package token

import (
	"errors"
	"testing"

	"github.com/strongroom/strongroom/internal/store"
)

// FuzzRow gives the reader of stored tokens any bytes: what it refuses is
// corrupt, and each address range of what it takes is one.
func FuzzRow(f *testing.F) {
	f.Add([]byte(`{"policies":["default"],"bound_cidrs":["10.0.0.0/8","::1"]}`))
	f.Add([]byte(`{"bound_cidrs":["fe80::1%eth0/64","::ffff:1.2.3.4/120"]}`))
	f.Fuzz(func(t *testing.T, row []byte) {
		k := rowKey{namespace: RootNamespace, id: "an-id"}
		got, err := decodeToken(k, row)
		switch {
		case err != nil && !errors.Is(err, store.ErrCorrupt):
			t.Fatal(err)
		case err == nil && (got.ID != k.id || got.NamespaceID != k.namespace):
			t.Fatalf("a row made itself another's: %q in %q", got.ID, got.NamespaceID)
		}
		if err != nil {
			return
		}
		for _, p := range got.cidrs {
			if !p.IsValid() || p != p.Masked() {
				t.Fatalf("an address range is %v", p)
			}
		}
	})
}
