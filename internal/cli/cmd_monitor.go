package cli

import (
	"errors"
	"io"
	"net/url"
	"os"
	"os/signal"
	"slices"

	"github.com/spf13/pflag"

	"github.com/strongroom/strongroom/client"
)

func monitorCommand() command {
	var level, format string
	return command{
		use: "monitor", short: "Show the server's log as it is written",
		long:    "It goes on until it is interrupted. Lines that come faster than they are read are\nleft out. The token needs sudo.",
		example: "monitor -log-level=debug",
		flags: func(f *pflag.FlagSet) {
			f.StringVar(&level, "log-level", "info", "least `level` to show: trace, debug, info, warn or error")
			f.StringVar(&format, "log-format", "standard", "`form` of the lines: standard or json")
		},
		check: func(*call) error {
			switch {
			case !slices.Contains([]string{"trace", "debug", "info", "warn", "error"}, level):
				return usagef("-log-level=%s: want trace, debug, info, warn or error", level)
			case format != "standard" && format != "json":
				return usagef("-log-format=%s: want standard or json", format)
			}
			return nil
		},
		run: connected(func(c *call, cl *client.Client) error {
			ctx, stop := signal.NotifyContext(c.ctx, os.Interrupt)
			defer stop()
			body, err := cl.Stream(ctx, client.Request{
				Path: "sys/monitor", Query: url.Values{"log_level": {level}, "log_format": {format}},
			})
			if err == nil {
				_, err = io.Copy(c.stdout, body)
				err = errors.Join(err, body.Close())
			}
			if ctx.Err() != nil {
				return nil // interrupted, as it is meant to end
			}
			return failed(err, "reading the server's log")
		}),
	}
}
