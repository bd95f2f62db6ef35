package compat

import "testing"

// TestRateLimit has clients run into a rate limit. They try again when the answer
// tells them to, and come through.
func TestRateLimit(t *testing.T) {
	t.Parallel()
	for name, make := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := devServer(t)
			c := make(t, s)
			c.setToken(rootToken)
			must(c.logical.Write("sys/quotas/rate-limit/tokens", map[string]any{"path": "auth/token", "rate": 2, "interval": "1s"}))(t)
			q := must(c.logical.Read("sys/quotas/rate-limit/tokens"))(t)
			equal(t, "path", q.Data["path"], any("auth/token/"))
			equal(t, "type", q.Data["type"], any("rate-limit"))
			c.head.SetMaxRetries(4)
			for range 4 { // twice as many as may be made at once
				must(c.logical.Read("auth/token/lookup-self"))(t)
			}
			must(c.logical.Write("sys/quotas/rate-limit/tokens", map[string]any{"path": "auth/token", "rate": 1, "interval": "1h"}))(t)
			c.head.SetMaxRetries(0)
			must(c.logical.Read("auth/token/lookup-self"))(t)
			_, err := c.logical.Read("auth/token/lookup-self")
			refused(t, err, 429, "rate limit quota exceeded")
			must(c.logical.Delete("sys/quotas/rate-limit/tokens"))(t)
			must(c.logical.Read("auth/token/lookup-self"))(t)
			gone, err := c.logical.Read("sys/quotas/rate-limit/tokens")
			absent(t, "the quota", gone, err)
		})
	}
}
