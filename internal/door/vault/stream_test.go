package vault

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// TestAStreamThatFailsHasNoEnd: an answer that was not made to its end is broken off whatever the reason, and one that was made is whole.
// A listener's max_request_duration ends the request's own context, while the client goes on reading.
func TestAStreamThatFailsHasNoEnd(t *testing.T) {
	d := &Door{now: time.Now}
	broken := errors.New("the store is gone")
	for name, c := range map[string]struct {
		limit time.Duration
		end   error // with which making it ends; nil: with the context's
		whole bool
	}{
		"time is over":    {limit: 50 * time.Millisecond},
		"making it fails": {limit: time.Hour, end: broken},
		"the control":     {limit: time.Hour, whole: true},
	} {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), c.limit)
			defer cancel()
			d.stream(w, r.WithContext(ctx), func(ctx context.Context, out io.Writer) error {
				if _, err := io.WriteString(out, "a part"); err != nil || c.whole || c.end != nil {
					return errors.Join(err, c.end)
				}
				<-ctx.Done()
				return ctx.Err()
			})
		}))
		resp, err := s.Client().Get(s.URL)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if string(body) != "a part" || (err == nil) != c.whole {
			t.Errorf("%s: the client has %q, %v", name, body, err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Error(err)
		}
		s.Close()
	}
}
