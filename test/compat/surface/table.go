package main

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// operation is one line of the table: what a reference server answers.
type operation struct {
	group  string // group is the mount type, such as "sys" or "secret:kv-v2".
	method string
	path   string // path begins with /v1/ and names parameters in braces; {mount} stands for the mount's own path.
	params []param
}

// param is a parameter of an operation and its type, such as "string", "integer:seconds" or "array<string>".
type param struct{ in, name, kind string }

// columns of the table.
const (
	colGroup, colMethod, colPath, colURL, colBody = 0, 1, 2, 8, 9
	numColumns                                    = 10
)

// readTable reads the tab-separated table, whose first line names the columns.
func readTable(r io.Reader) ([]operation, error) {
	var table []operation
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		cells := strings.Split(lines.Text(), "\t")
		if len(cells) != numColumns {
			return nil, fmt.Errorf("line %d of the table has %d columns, want %d", n, len(cells), numColumns)
		}
		if n > 1 {
			params := append(parseParams("", cells[colURL]), parseParams("body=", cells[colBody])...)
			table = append(table, operation{cells[colGroup], cells[colMethod], cells[colPath], params})
		}
	}
	return table, lines.Err()
}

// parseParams reads a cell of in=name:type words; the trailing marks for required and deprecated are of no interest here.
func parseParams(in, cell string) []param {
	var params []param
	for word := range strings.FieldsSeq(cell) {
		place, rest, _ := strings.Cut(in+word, "=")
		name, kind, _ := strings.Cut(rest, ":")
		params = append(params, param{place, name, strings.TrimRight(kind, "!~")})
	}
	return params
}
