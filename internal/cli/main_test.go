package cli

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestExtraCommands checks what package main relies on for the commands it adds:
// the streams, flags with one dash, and the exit code.
func TestExtraCommands(t *testing.T) {
	newExtra := func() *cobra.Command {
		extra := &cobra.Command{Use: "dev", Example: "  strongroom dev -fail"}
		listen := extra.Flags().String("listen", "", "")
		fail := extra.Flags().Bool("fail", false, "")
		extra.RunE = func(cmd *cobra.Command, args []string) error {
			if *fail {
				return errors.New("the port is taken")
			}
			cmd.Print("listening on ", *listen, " ", args)
			return nil
		}
		return extra
	}
	var out, errs bytes.Buffer
	getenv := func(string) string { return "" }
	code := Main([]string{"/bin/strongroom", "dev", "-listen", "-odd", "x"}, nil, &out, &errs, getenv, newExtra())
	if all := out.String() + errs.String(); code != 0 || all != "listening on -odd [x]" {
		t.Errorf("%d %q", code, all)
	}
	out.Reset()
	errs.Reset()
	code = Main([]string{"/bin/sr", "dev", "-help"}, nil, &out, &errs, getenv, newExtra())
	if code != 0 || !strings.Contains(out.String(), "\n  sr dev -fail\n") {
		t.Errorf("%d %q", code, out.String())
	}
	errs.Reset()
	code = Main([]string{"strongroom", "dev", "-fail"}, nil, &out, &errs, getenv, newExtra())
	if code != exitLocal || strings.TrimSpace(errs.String()) != "Error: the port is taken" {
		t.Errorf("%d %q", code, errs.String())
	}
}

func TestNoArgumentsShowHelp(t *testing.T) {
	var out, errs bytes.Buffer
	code := Main([]string{"strongroom"}, nil, &out, &errs, func(string) string { return "" })
	if code != exitLocal || !strings.Contains(errs.String(), "Commands:") || out.Len() > 0 {
		t.Errorf("%d %q %q", code, out.String(), errs.String())
	}
}
