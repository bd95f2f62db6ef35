package vault

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/gate"
)

// TestWhenToAskAgain has refusals say when to ask again, and those that stay not: clients do
// not wait then.
func TestWhenToAskAgain(t *testing.T) {
	d := &Door{now: time.Now}
	for _, tc := range []struct {
		err    *api.Error
		status int
		want   string
	}{
		{&api.Error{Kind: api.Unavailable, Message: "busy"}, 503, "1"},
		{&api.Error{Kind: api.Unavailable, Message: "busy", RetryAfter: 1500 * time.Millisecond}, 503, "2"},
		{&api.Error{Kind: api.Unavailable, Message: "sealed", RetryAfter: api.Stays}, 503, ""},
		{&api.Error{Kind: api.TooMany, Message: "slow down"}, 429, "1"},
		{&api.Error{Kind: api.TooMany, Message: "as many as there may be", RetryAfter: api.Stays}, 429, ""},
		{&api.Error{Kind: api.NotFound}, 404, ""},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			d.send(w, r, &gate.Response{Err: fmt.Errorf("while: %w", tc.err)})
		}))
		resp, err := http.Get(s.URL)
		s.Close()
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.Header.Get("Retry-After"); resp.Body.Close() != nil || resp.StatusCode != tc.status || got != tc.want {
			t.Errorf("%+v: %d, Retry-After %q; want %d, %q", tc.err, resp.StatusCode, got, tc.status, tc.want)
		}
	}
}
