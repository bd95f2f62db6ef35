package script

import (
	"context"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/strongroom/strongroom/test/softkey"
)

// passkeyCommand waits for an address in a file, and shows a passkey there as somebody with a browser does. The passkey is
// the session's, and its page is at an origin.
func passkeyCommand(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 2, "passkey ORIGIN FILE")
	s := of(ts)
	if s.passkey == nil {
		var err error
		s.passkey, err = softkey.New(args[0])
		ts.Check(err)
	}
	s.passkey.Origin = args[0]
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		text, err := os.ReadFile(ts.MkAbs(args[1]))
		if address := regexp.MustCompile(`http://127\.0\.0\.1:\d+/\w+\n`).Find(text); err == nil && address != nil {
			said, err := s.passkey.Browse(ctx, strings.TrimSpace(string(address)))
			ts.Logf("%s", said)
			ts.Check(err)
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			ts.Fatalf("nobody was asked for a passkey")
		}
	}
}
