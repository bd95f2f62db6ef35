package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/strongroom/strongroom/client"
)

// dryRun is the flag of commands that destroy much at once, or take a server out of service.
type dryRun struct{ on bool }

func (d *dryRun) flag(f *pflag.FlagSet) {
	f.BoolVar(&d.on, "dry-run", false, "show what would go, and change nothing")
}

// yesFlag is for commands that ask people before what nothing brings back.
func yesFlag(f *pflag.FlagSet, yes *bool) { f.BoolVar(yes, "yes", false, "do not ask") }

// would shows what a command would do: as data for programs, and in a sentence for people.
func (c *call) would(data map[string]any, format string, args ...any) error {
	return c.show(data, data, func() error { return c.println(fmt.Sprintf("Would "+format, args...) + " Nothing was changed.") })
}

// wouldGo shows what a command would remove, and the parts that go with it.
func (c *call) wouldGo(what, parts string, names []string) error {
	v := map[string]any{"would_remove": what, parts: names}
	return c.show(v, v, func() error {
		text := "Would remove " + what
		if len(names) > 0 {
			text += fmt.Sprintf(", with its %s: %s", parts, someOf(names))
		}
		return c.println(text + ". Nothing was changed.")
	})
}

// someOf is a list for people, of which they see at most 20.
func someOf(names []string) string {
	const most = 20
	shown := strings.Join(names[:min(len(names), most)], ", ")
	if n := len(names); n > most {
		shown += fmt.Sprintf(" and %d more", n-most)
	}
	return shown
}

// orEmpty takes "nothing is there" for an empty list.
func orEmpty(names []string, err error) ([]string, error) {
	if errors.Is(err, client.ErrNotFound) {
		return nil, nil
	}
	return names, err
}
