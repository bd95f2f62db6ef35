package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
)

// autocomplete adds the flags by which the dialect's programs set completion up.
func (a *app) autocomplete(root *cobra.Command) {
	var install, uninstall bool
	f := root.Flags()
	f.BoolVar(&install, "autocomplete-install", false, "set completion up in the files of bash, zsh and fish")
	f.BoolVar(&uninstall, "autocomplete-uninstall", false, "take completion out of these files")
	root.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case install && uninstall:
			return usagef("-autocomplete-install and -autocomplete-uninstall do not go together")
		case install || uninstall:
			return a.setCompletion(cmd, install)
		}
		return family(cmd, args)
	}
}

// completionFamily makes cobra's completion command answer as the other families when
// it is named without a shell or with an unknown one. For bash, cobra's script needs
// functions of another package; this program's needs none.
func (a *app) completionFamily(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() != "completion" {
			continue
		}
		cmd.Args, cmd.RunE = cobra.ArbitraryArgs, family
		cmd.ValidArgsFunction = nil
		for _, shell := range cmd.Commands() {
			if shell.Name() == "bash" {
				shell.Long = "Print what makes bash complete this program's commands:\n\n  source <(" + a.name + " completion bash)"
				shell.RunE = func(*cobra.Command, []string) error {
					_, err := fmt.Fprintln(a.stdout, a.bashLine())
					return err
				}
			}
		}
	}
}

// bashLine tells bash to ask the program; spaces after words are its own.
func (a *app) bashLine() string {
	command := a.path()
	if strings.ContainsFunc(command, func(r rune) bool { return !strings.ContainsRune(plainInShells, r) }) {
		command = shellQuote(command)
	}
	// The command is quoted for the shell that runs it, and then for this line.
	return fmt.Sprintf("complete -o nospace -C %s %s", shellQuote(command), a.name)
}

// plainInShells are the characters that need no quotes in a path.
const plainInShells = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+"

// path is the program's own, by the name it was called.
func (a *app) path() string {
	path, err := exec.LookPath(a.called)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return a.name
	}
	return path
}

// zshCompletion starts zsh's completion where the file has not done so before.
const zshCompletion = "(( $+functions[compdef] )) || { autoload -U compinit && compinit -i }"

// setCompletion adds completion to the shells' files, or takes it out. Files of
// shells that are not used here are not made, but for bash's.
func (a *app) setCompletion(root *cobra.Command, install bool) error {
	var changed []string
	lines := map[string][]string{
		".bashrc": {a.bashLine()},
		".zshrc":  {zshCompletion, "source <(" + shellQuote(a.path()) + " completion zsh)"},
	}
	for _, name := range sortedKeys(lines) {
		path, err := a.inHome(name)
		if err != nil {
			return err
		}
		did, err := a.setLines(path, lines[name], install, name == ".bashrc")
		if err != nil {
			return err
		}
		if did {
			changed = append(changed, path)
		}
	}
	fish, err := a.setFish(root, install)
	if err != nil {
		return err
	}
	if changed = append(changed, fish...); len(changed) == 0 {
		_, err = fmt.Fprintln(a.stdout, "Nothing to change.")
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "Changed %s. Start a new shell to see it.\n", strings.Join(changed, ", "))
	return err
}

// setLines adds a marked block to a file, or removes it, whatever an older one says.
func (a *app) setLines(path string, lines []string, install, create bool) (changed bool, err error) {
	raw, err := os.ReadFile(path)
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !missing || missing && (!install || !create) {
		return false, ignoring(err, fs.ErrNotExist)
	}
	begin, end := "# >>> "+a.name+" completion >>>", "# <<< "+a.name+" completion <<<"
	text := withoutBlock(string(raw), begin, end)
	if install {
		if text != "" && !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
		text += begin + "\n" + strings.Join(lines, "\n") + "\n" + end + "\n"
	}
	if text == string(raw) {
		return false, nil
	}
	mode := fs.FileMode(0o644)
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
	}
	// Written in place: the file may be a link into a person's own collection.
	return true, os.WriteFile(path, []byte(text), mode)
}

func ignoring(err, what error) error {
	if errors.Is(err, what) {
		return nil
	}
	return err
}

// withoutBlock takes the lines from begin to end out of text.
func withoutBlock(text, begin, end string) string {
	before, rest, found := strings.Cut(text, begin+"\n")
	if !found {
		return text
	}
	_, after, found := strings.Cut(rest, end+"\n")
	if !found {
		return text
	}
	return before + after
}

// setFish writes or removes the file of completions that fish loads by itself.
func (a *app) setFish(root *cobra.Command, install bool) ([]string, error) {
	dir, err := a.inHome(".config/fish")
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return nil, nil // fish is not used here
	}
	path := filepath.Join(dir, "completions", a.name+".fish")
	if !install {
		err := os.Remove(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return []string{path}, err
	}
	var script bytes.Buffer
	if err := root.GenFishCompletion(&script, true); err != nil {
		return nil, err
	}
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, script.Bytes()) {
		return nil, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	return []string{path}, os.WriteFile(path, script.Bytes(), 0o644)
}
