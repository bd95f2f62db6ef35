package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/policy/cases"
)

const casesHelp = `A file of cases is YAML or JSON. It names policies, as files beside it or as text,
and requests with what must become of them:

  policies:
    - file: ci.hcl              # named ci
    - name: night
      text: path "kv/*" { capabilities = ["deny"] }
  cases:
    - name: CI reads its own
      policies: [ci]            # all of the file's, when absent
      path: secret/data/ci/db
      operation: read           # create, read, update, patch, delete, list, scan
      expect: allow             # or deny
      rule: "ci:3"              # policy and line that must decide; optional
    - path: auth/token/create
      operation: update
      parameters: {policies: [admin]}
      wrap_ttl: 5m
      sudo: true                # the endpoint is root-protected
      at: 2026-01-05T09:00:00Z  # what conditions weigh: this and all below
      source: 10.1.2.3
      headers: {x-device: laptop}
      namespace: eng/
      token: {type: service, display_name: ada, metadata: {team: x}}
      auth: {method: userpass, mount: auth/userpass/, age: 10m}
      expect: deny

No server is asked. The exit code is 1 when a case fails or a file cannot be read.`

// casesReport is what became of the cases of all files.
type casesReport struct {
	Passed int           `json:"passed"`
	Failed int           `json:"failed"`
	Files  []casesOfFile `json:"files"`
}

type casesOfFile struct {
	File    string         `json:"file"`
	Results []cases.Result `json:"results"`
}

func policyTest() command {
	return command{
		use: "test FILE...", short: "Try policies on cases, without a server", args: atLeast(1), long: casesHelp,
		example: "policy test cases.yaml\npolicy test -format=json policies/*.test.yaml",
		run: func(c *call) error {
			report := casesReport{}
			for _, name := range c.args {
				results, err := c.runCases(name)
				if err != nil {
					return failed(err, "testing %s", name)
				}
				report.add(name, results)
			}
			if err := c.show(report, map[string]any{"passed": report.Passed, "failed": report.Failed}, func() error { return c.println(report.text()) }); err != nil {
				return err
			}
			if report.Failed > 0 {
				return &exit{code: exitLocal}
			}
			return nil
		},
	}
}

func (c *call) runCases(name string) ([]cases.Result, error) {
	raw, err := c.readFile(name)
	if err != nil {
		return nil, err
	}
	file, err := cases.Parse([]byte(raw))
	if err != nil {
		return nil, err
	}
	policies, err := file.Load(func(policy string) ([]byte, error) {
		if name != "-" && !filepath.IsAbs(policy) {
			policy = filepath.Join(filepath.Dir(name), policy)
		}
		return os.ReadFile(policy)
	})
	if err != nil {
		return nil, err
	}
	return file.Run(policies, time.Now()), nil
}

func (r *casesReport) add(name string, results []cases.Result) {
	for _, one := range results {
		if one.Passed {
			r.Passed++
		} else {
			r.Failed++
		}
	}
	r.Files = append(r.Files, casesOfFile{name, results})
}

// text shows what failed, and how many did.
func (r *casesReport) text() string {
	var b strings.Builder
	for _, f := range r.Files {
		for _, one := range f.Results {
			if one.Passed {
				continue
			}
			fmt.Fprintf(&b, "FAIL %s: %s\n  expected %s, got %s: %s\n", f.File, one.Name, one.Expected, orNone(one.Got), one.Problem)
			if one.Explanation != nil {
				b.WriteString(indent(explanationText(one.Explanation)))
			}
		}
	}
	fmt.Fprintf(&b, "%d passed, %d failed", r.Passed, r.Failed)
	return b.String()
}

func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n  ") + "\n"
}
