package server

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/strongroom/strongroom/client"
)

// report prints what a command of the server's found: as -format or STRONGROOM_FORMAT ask for
// it, and to people in a text.
func report(cmd *cobra.Command, found any, text string) error {
	format := ""
	if f := cmd.Flags().Lookup("format"); f != nil {
		format = f.Value.String()
	}
	if format == "" {
		format = client.LookupEnv(os.Getenv, "FORMAT")
	}
	out := cmd.OutOrStdout()
	switch strings.ToLower(format) {
	case "", "table", "pretty":
		_, err := io.WriteString(out, text)
		return err
	case "json":
		e := json.NewEncoder(out)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(found)
	case "yaml", "yml":
		b, err := yaml.Marshal(found)
		if err == nil {
			_, err = out.Write(b)
		}
		return err
	}
	return errors.New("-format: want table, json or yaml")
}
