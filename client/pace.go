package client

import (
	"context"
	"sync"
	"time"
)

// maxRate bounds Config.Rate: above it a pause would be shorter than a nanosecond.
const maxRate = 1e9

// pace keeps requests below a rate: the first few go at once, each later one waits
// for its share of a second. Without a clock it cannot tell how long ago the last
// was, so that it errs on the slow side.
type pace struct {
	mu    sync.Mutex
	free  int
	pause time.Duration
}

func newPace(cfg *Config) *pace {
	if cfg.Rate <= 0 {
		return nil
	}
	return &pace{free: cfg.Burst, pause: time.Duration(float64(time.Second) / cfg.Rate)}
}

// wait holds the lock while it waits, so that goroutines wait one after another.
func (p *pace) wait(ctx context.Context, c *Client) error {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.free > 0 {
		p.free--
		return nil
	}
	return c.sleep(ctx, p.pause)
}
