package blackbox

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// named is a test and its package in the table of docs/advisories.md.
var named = regexp.MustCompile("`(Test\\w+)` in ([\\w/]+)")

// astray are the tests that a table names and that are not where it says.
func astray(t *testing.T, table string) (missing []string, seen int) {
	t.Helper()
	for _, m := range named.FindAllStringSubmatch(table, -1) {
		seen++
		files, err := filepath.Glob("../../" + m[2] + "/*_test.go")
		if err != nil {
			t.Fatal(err)
		}
		if !declares(t, files, m[1]) {
			missing = append(missing, m[1]+" in "+m[2])
		}
	}
	return missing, seen
}

func declares(t *testing.T, files []string, test string) bool {
	t.Helper()
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "\nfunc "+test+"(") {
			return true
		}
	}
	return false
}

func TestEveryAdvisoryHasItsTest(t *testing.T) {
	table, err := os.ReadFile("../../docs/advisories.md")
	if err != nil {
		t.Fatal(err)
	}
	missing, seen := astray(t, string(table))
	for _, m := range missing {
		t.Errorf("%s is named in docs/advisories.md and is not there", m)
	}
	if rows := strings.Count(string(table), "\n|") - 2; seen < rows || rows < 40 {
		t.Errorf("%d rows name %d tests", rows, seen)
	}
	if missing, _ := astray(t, "`TestNothingOfTheKind` in test/blackbox"); len(missing) != 1 {
		t.Error("control: a test that does not exist is found")
	}
}
