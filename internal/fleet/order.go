package fleet

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// OrderPrefix is where, in the encrypted store, the orders to all nodes are.
const OrderPrefix = "root/fleet/"

// sealKey is the order to seal. Nobody without the keys can give one.
const sealKey = OrderPrefix + "seal"

// Orders are what an unsealed node has to obey: orders that were given after it
// was unsealed.
type Orders struct {
	memo  *store.Memo[struct{}, string]
	store store.Store  // the encrypted store
	past  string       // the order that was there before
	own   atomic.Value // the text of the order that this node gave itself
}

// NewOrders obeys what is ordered from now on.
func NewOrders(ctx context.Context, s store.Store, cache *store.Cache) (*Orders, error) {
	o := &Orders{store: s}
	o.memo = store.NewMemo(cache, 1, func(ctx context.Context, r store.Reader, _ struct{}) (string, error) {
		return orderOf(r.Get(ctx, sealKey))
	})
	var err error
	if o.past, err = orderOf(s.Get(ctx, sealKey)); err != nil {
		return nil, fmt.Errorf("reading the orders to all nodes: %w", err)
	}
	return o, nil
}

// unread begins what stands for an order whose row is damaged. No order begins so.
const unread = "damaged at revision "

// orderOf is an order by its text; one that is damaged by its revision.
func orderOf(e store.Entry, err error) (string, error) {
	if errors.Is(err, store.ErrCorrupt) && e.Exists() {
		return fmt.Sprintf("%s%d", unread, e.Rev), nil
	}
	return string(e.Value), err
}

// Seal reports whether another node has told all to seal, as of no earlier than the
// cache's last Fresh. A row that is damaged was there before, or may be an order: it is an error then.
func (o *Orders) Seal(ctx context.Context) (bool, error) {
	order, err := o.memo.Get(ctx, struct{}{})
	if err != nil || order == o.past || order == o.own.Load() || order == "" {
		return false, err
	}
	if strings.HasPrefix(order, unread) {
		return false, &api.Error{Kind: api.Damaged, Err: store.ErrCorrupt, Message: "whether all nodes were ordered to seal is not known: the row " + sealKey + " is damaged",
			Hint: "restart this node: one that starts has the order behind it; then remove the row through sys/raw"}
	}
	return true, nil
}

// GiveSeal tells all other nodes to seal; this one still has to answer. Orders
// differ by their text: their row's revision changes also when keys are rotated.
func (o *Orders) GiveSeal(ctx context.Context) error {
	order := rand.Text()
	o.own.Store(order)
	_, err := o.store.Commit(ctx, nil, []store.Write{{Key: sealKey, Value: []byte(order)}})
	return err
}

// sealPoll is how often the others are looked at until they have sealed.
const sealPoll = 50 * time.Millisecond

// AwaitSealed waits until all other living nodes say that they are sealed, or ctx
// ends. It returns those that have not said so.
func (f *Fleet) AwaitSealed(ctx context.Context) ([]Member, error) {
	t := time.NewTicker(sealPoll)
	defer t.Stop()
	for {
		open, err := f.unsealed(ctx)
		if err != nil || len(open) == 0 {
			return open, err
		}
		select {
		case <-ctx.Done():
			return open, nil
		case <-t.C:
		}
	}
}

func (f *Fleet) unsealed(ctx context.Context) (out []Member, err error) {
	members, es, _, err := f.rows(context.WithoutCancel(ctx))
	for i := range members {
		if m := &members[i]; m.ID != f.ID && !m.Sealed && !f.dead(m, es[i]) {
			out = append(out, *m)
		}
	}
	sortMembers(out)
	return out, err
}
