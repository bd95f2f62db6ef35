// Package schedule owns durable due-times: what must happen at a moment, kept
// in the store and run by one node at a time.
//
// A due-time is one row, <namespace>/due/<time>/<kind>/<id>, added in the same
// commit as the thing it is about, so that neither exists without the other.
// Rows sort by time, so the runner reads the first few of each namespace and
// never the whole table: a node with a million of them starts as fast as one
// with none.
//
// A node claims a row by moving it to the moment when its claim ends. Only one
// node's commit can move a row, and while that node lives it moves the row on; when it
// dies the row is due again and any node takes it over. There is no lock, leader
// or list of nodes. Clocks of nodes that differ by more than the claim let a
// second node begin early, which a handler that ends with Job.Done in its own
// commit notices. A claim names the run that made it. Where a store can have one
// node only, whoever starts on it knows that all earlier runs are over, and does not
// wait for the ends of their claims.
//
// A due row is a hint, not an order: the thing may have been renewed, removed
// or handled since. A handler looks at the thing itself, and runs again after
// a crash.
package schedule

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/store"
)

// Item is one due-time.
type Item struct {
	Namespace string    // namespace identifier, the first segment of the row's key
	At        time.Time // when it is due; a moment after the year 2262 is taken as 2262
	Kind      string    // names the handler; no slash
	ID        string    // what is due, such as a token's storage identity; no slash
	Data      []byte    // handed to the handler; at most a few KiB, no plaintext secret
}

// row is an item's stored value.
type row struct {
	Data  []byte `json:"data,omitempty"`
	Tries int    `json:"tries,omitempty"` // how often the handler has failed
	Owner string `json:"owner,omitempty"` // the run that has claimed it; empty: none has
}

const area = "/due/"

// digits is the width of a row's time: nanoseconds since 1970 as decimal.
const digits = 19

// Add records an item as part of a transaction on the whole encrypted store. It
// refuses one without a kind.
//
// Items with the same kind, ID and data that are due together run once.
func Add(tx *store.Tx, it Item) error {
	if _, ok := parse(it.key()); !ok {
		return errMalformed
	}
	value, err := json.Marshal(row{Data: it.Data})
	if err != nil {
		return fmt.Errorf("schedule: encode item: %w", err)
	}
	tx.Put(it.key(), value)
	return nil
}

// Remove takes an item back as part of a transaction; At must be as it was
// added. An item that a node has claimed is no longer there to remove: its
// handler will find that there is nothing to do.
func Remove(tx *store.Tx, it Item) { tx.Delete(it.key()) }

func (it Item) key() string {
	return it.Namespace + area + stamp(it.At) + "/" + it.Kind + "/" + it.ID
}

// stamp is a moment as text that sorts by time.
func stamp(t time.Time) string {
	n := int64(0)
	switch {
	case t.After(time.Unix(0, math.MaxInt64)):
		n = math.MaxInt64
	case t.Unix() >= 0:
		n = t.UnixNano()
	}
	s := strconv.FormatInt(n, 10)
	return strings.Repeat("0", digits-len(s)) + s
}

// parse reads a row's key; false for a key that is not one of ours.
func parse(key string) (Item, bool) {
	ns, rest, ok := strings.Cut(key, "/")
	rest, isDue := strings.CutPrefix(rest, area[1:])
	if !ok || !isDue || len(rest) < digits+1 || rest[digits] != '/' {
		return Item{}, false
	}
	n, err := strconv.ParseInt(rest[:digits], 10, 64)
	kind, id, ok := strings.Cut(rest[digits+1:], "/")
	if err != nil || n < 0 || !ok || kind == "" {
		return Item{}, false
	}
	return Item{Namespace: ns, At: time.Unix(0, n).UTC(), Kind: kind, ID: id}, true
}
