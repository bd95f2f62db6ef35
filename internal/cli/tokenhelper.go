package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"

	"github.com/hashicorp/hcl"

	"github.com/strongroom/strongroom/client"
)

// tokenHelper is the command line of the program that keeps the token, or empty
// where the token file does. It stands as token_helper in the file that
// STRONGROOM_CONFIG_PATH names, or else in the first of the guise's files there is.
func (a *app) tokenHelper() (string, error) {
	if path := client.LookupEnv(a.getenv, "CONFIG_PATH"); path != "" {
		helper, _, err := helperIn(path)
		return helper, err
	}
	for _, name := range a.guise.configs {
		path, err := a.inHome(name)
		if err != nil {
			return "", nil // nobody's home: there is no helper
		}
		if helper, found, err := helperIn(path); found || err != nil {
			return helper, err
		}
	}
	return "", nil
}

// helperIn reads one file; a directory of that name is something else's.
func helperIn(path string) (helper string, found bool, err error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.IsDir() {
		return "", false, nil
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return "", false, err
	}
	helper, err = parseHelper(raw)
	if err != nil {
		return "", true, &exit{
			exitLocal, fmt.Sprintf("Error: %s: %v", path, err),
			`write token_helper = "/path/of/the/program" in it, or set STRONGROOM_CONFIG_PATH to another file, as /dev/null`,
		}
	}
	return helper, true, nil
}

// parseHelper reads the one setting of such a file, in HCL or JSON.
func parseHelper(raw []byte) (helper string, err error) {
	// The parser panics on some of what it cannot read.
	defer func() {
		if recover() != nil {
			err = errors.New("not HCL or JSON")
		}
	}()
	var settings map[string]any
	if err := hcl.Unmarshal(raw, &settings); err != nil {
		return "", fmt.Errorf("not HCL or JSON: %w", err)
	}
	for name, value := range settings {
		text, ok := value.(string)
		if name != "token_helper" || !ok {
			return "", fmt.Errorf("%q is not known here: token_helper, a text, is all there is", name)
		}
		helper = text
	}
	return helper, nil
}

// runHelper runs the helper with get, store (the token comes on its standard input)
// or erase, and returns what it printed.
func (a *app) runHelper(helper, verb, input string) (string, error) {
	cmd := exec.Command("/bin/sh", "-c", helper+" "+verb)
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, a.stderr
	if err := cmd.Run(); err != nil {
		return "", &exit{
			exitLocal, fmt.Sprintf("Error: the token helper %q %s: %v", helper, verb, err),
			"run it by hand to see why, or set STRONGROOM_TOKEN, which needs no helper",
		}
	}
	return out.String(), nil
}
