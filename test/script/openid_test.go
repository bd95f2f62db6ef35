package script

import (
	"context"
	"os"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/strongroom/strongroom/test/openid"
)

func providerCommand(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 1, "provider ADDRESS...")
	p, err := openid.Start(args...)
	ts.Check(err)
	ts.Defer(p.Close)
	ts.Setenv("ISSUER", p.URL)
}

func personCommand(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, args, 1, "person FILE")
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		address, err := os.ReadFile(ts.MkAbs(args[0]))
		if err == nil && len(address) > 0 {
			page, err := openid.Visit(ctx, string(address))
			ts.Logf("%s", page)
			ts.Check(err)
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			ts.Fatalf("nobody was sent to the provider")
		}
	}
}
