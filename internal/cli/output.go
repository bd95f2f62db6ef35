package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/strongroom/strongroom/client"
)

// Output formats.
const (
	formatTable = "table"
	formatJSON  = "json"
	formatYAML  = "yaml"
	formatRaw   = "raw"
)

// format is the output format in force.
func (a *app) format() (string, error) {
	name, source := a.flags.format, "-format"
	if name == "" {
		name, source = client.LookupEnv(a.getenv, "FORMAT"), a.guise.prefixes[0]+"FORMAT"
	}
	switch strings.ToLower(name) {
	case "", formatTable, "pretty":
		return formatTable, nil
	case formatJSON:
		return formatJSON, nil
	case formatYAML, "yml":
		return formatYAML, nil
	case formatRaw:
		return formatRaw, nil
	}
	return "", usagef("%s=%s: want table, json, yaml or raw", source, name)
}

// show prints v as JSON or YAML, or calls table for people. With -field, it
// prints that field of fields.
func (c *call) show(v any, fields map[string]any, table func() error) error {
	if c.flags.field != "" {
		return c.showField(fields)
	}
	format, err := c.format()
	if err != nil {
		return err
	}
	if format == formatTable {
		return table()
	}
	return c.encode(format, v)
}

func (c *call) encode(format string, v any) error {
	text, err := encode(format, v)
	if err != nil {
		return err
	}
	return c.println(text)
}

func encode(format string, v any) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return "", err
	}
	if format == formatJSON {
		return strings.TrimSpace(b.String()), nil
	}
	text, err := yaml.JSONToYAML(b.Bytes())
	return strings.TrimSpace(string(text)), err
}

// println prints what may hold anybody's text: a terminal does not obey it.
func (c *call) println(text string) error {
	if c.onTerminal() {
		text = printable(text)
	}
	_, err := fmt.Fprintln(c.stdout, text)
	return err
}

// say tells people how it went. Programs, which asked for another format than the
// table, have the exit code.
func (c *call) say(format string, args ...any) error {
	if f, err := c.format(); err != nil || f != formatTable {
		return err
	}
	return c.println(fmt.Sprintf(format, args...))
}

// showField prints one field bare: its text without quotes, durations in seconds,
// and without a line's end when no person reads it.
func (c *call) showField(fields map[string]any) error {
	v, ok := fields[c.flags.field]
	if !ok || v == nil {
		hint := "it has no fields"
		if len(fields) > 0 {
			hint = "it has " + printable(strings.Join(sortedKeys(fields), ", "))
		}
		return &exit{exitLocal, fmt.Sprintf("Field %q is not in the answer", c.flags.field), hint}
	}
	format, err := c.format()
	if err != nil {
		return err
	}
	if format == formatJSON || format == formatYAML {
		return c.encode(format, v)
	}
	text := bare(v)
	if c.onTerminal() {
		text = printable(text) + "\n"
	}
	_, err = fmt.Fprint(c.stdout, text)
	return err
}

// secret prints an envelope. Who wanted a field that is not in it is told what the server warns of: it may say why.
func (c *call) secret(s *client.Secret) error {
	fields := secretFields(s)
	if name := c.flags.field; name != "" && s != nil && fields[name] == nil {
		c.tell(s.Warnings)
	}
	return c.show(s, fields, func() error {
		c.warn(s)
		return c.rows(secretRows(s))
	})
}

// warn prints the server's warnings beside the output.
func (c *call) warn(s *client.Secret) {
	if s == nil {
		return
	}
	c.warned(s.Warnings)
}

// warned shows a person what the server warns of, each thing once. Who asks for a
// field or another format than the table is a program.
func (a *app) warned(warnings []string) {
	if f, err := a.format(); err != nil || f != formatTable || a.flags.field != "" {
		return
	}
	a.tell(warnings)
}

func (a *app) tell(warnings []string) {
	for _, w := range warnings {
		if a.told[w] || a.asks && strings.HasPrefix(w, "A login request was issued that is subject to MFA") {
			continue
		}
		if a.told == nil {
			a.told = map[string]bool{}
		}
		a.told[w] = true
		fmt.Fprintln(a.stderr, "warning: "+printable(w))
	}
}

// waiting tells, while a request goes on, what it waits for.
func (a *app) waiting(w client.Waiting) {
	text := "no connection to " + w.Address + " yet"
	switch {
	case w.Pause:
		text = w.Address + " is asked again in a moment"
	case w.Connected:
		text = w.Address + " has the request and has not answered yet"
	}
	var api *client.Error
	switch {
	case errors.As(w.Err, &api):
		text += "; it answered before: " + strings.Join(append([]string{api.Summary()}, api.Messages...), ": ")
	case w.Err != nil:
		text += "; the attempt before: " + w.Err.Error()
	}
	fmt.Fprintln(a.stderr, "waiting: "+printable(text))
}

// object prints a flat object.
func (c *call) object(v any) error {
	m, err := toMap(v)
	if err != nil {
		return err
	}
	return c.show(v, m, func() error { return c.rows(mapRows(m)) })
}

// names prints a list of names.
func (c *call) names(names []string) error {
	slices.Sort(names)
	return c.show(names, map[string]any{"keys": names}, func() error {
		rows := [][]string{}
		for _, n := range names {
			rows = append(rows, []string{n})
		}
		return c.table([]string{"Keys"}, rows)
	})
}

// rows prints keys and values under their header; nothing when there are none.
func (c *call) rows(rows [][]string) error {
	if len(rows) == 0 {
		return nil
	}
	return c.table([]string{"Key", "Value"}, rows)
}

func (c *call) table(header []string, rows [][]string) error {
	return c.println(table(header, rows))
}

// toMap gives v's JSON form as a map with exact numbers.
func toMap(v any) (map[string]any, error) {
	if m, ok := v.(map[string]any); ok {
		return m, nil
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	var m map[string]any
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	err = d.Decode(&m)
	return m, err
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
