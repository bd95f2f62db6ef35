package cli

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// completeLine answers a shell that was told "complete -C PROGRAM NAME": the line so
// far comes in COMP_LINE and COMP_POINT, and args are the program, the name, the part
// of the word that the shell will replace, and the word before. Stock programs of the
// dialect are set up in this way, so that what people have in their shells' files
// works on.
func (a *app) completeLine(ctx context.Context, root *cobra.Command, line, point string, args []string) int {
	if n, err := strconv.Atoi(point); err == nil && n >= 0 && n < len(line) {
		line = line[:n]
	}
	words := shellWords(line)
	if len(words) < 2 {
		return exitOK
	}
	last := words[len(words)-1]
	found, directive := suggestions(ctx, root, words[1:])
	if flag, _, ok := strings.Cut(last, "="); ok && strings.HasPrefix(last, "-") {
		found = under(flag+"=", found) // they are the flag's values
	}
	if len(found) == 0 && directive&cobra.ShellCompDirectiveNoFileComp == 0 {
		found, directive = filesFor(last), cobra.ShellCompDirectiveNoSpace
	}
	cut := 0
	if len(args) > 2 && strings.HasSuffix(last, args[2]) {
		cut = len(last) - len(args[2])
	}
	for _, word := range found {
		if len(word) < cut {
			continue
		}
		if directive&cobra.ShellCompDirectiveNoSpace == 0 && !strings.HasSuffix(word, "=") {
			word += " "
		}
		fmt.Fprintln(a.stdout, word[cut:])
	}
	return exitOK
}

// shellWords splits a line at spaces outside quotes; the last word, which may be
// empty, is the one being typed.
func shellWords(line string) []string {
	var words []string
	var word strings.Builder
	quote, escaped := rune(0), false
	for _, r := range line {
		switch {
		case escaped:
			word.WriteRune(r)
			escaped = false
		case r == '\\' && quote != '\'':
			escaped = true
		case quote != 0 && r == quote:
			quote = 0
		case quote == 0 && (r == '"' || r == '\''):
			quote = r
		case quote == 0 && (r == ' ' || r == '\t'):
			if word.Len() > 0 {
				words = append(words, word.String())
			}
			word.Reset()
		default:
			word.WriteRune(r)
		}
	}
	return append(words, word.String())
}

// suggestions asks cobra, to which long flags have two dashes, for the words that may
// stand where the last of words is. What begins with one dash stays so.
func suggestions(ctx context.Context, root *cobra.Command, words []string) ([]string, cobra.ShellCompDirective) {
	one := oneDash(words[len(words)-1])
	asked := append([]string{cobra.ShellCompNoDescRequestCmd}, words...)
	if one {
		asked[len(asked)-1] = "-" + asked[len(asked)-1]
	}
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(io.Discard)
	root.SetArgs(rewriteCompletion(root, asked))
	if err := root.ExecuteContext(ctx); err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var found []string
	directive := cobra.ShellCompDirectiveDefault
	for line := range strings.Lines(out.String()) {
		line = strings.TrimRight(line, "\n")
		if n, ok := strings.CutPrefix(line, ":"); ok {
			if d, err := strconv.Atoi(n); err == nil {
				directive = cobra.ShellCompDirective(d)
			}
			continue
		}
		if one {
			line = strings.TrimPrefix(line, "-")
		}
		found = append(found, line)
	}
	return found, directive
}

// oneDash tells a flag, or the beginning of one, that is written with one dash.
func oneDash(word string) bool {
	return strings.HasPrefix(word, "-") && !strings.HasPrefix(word, "--")
}

// completeForScript answers cobra's scripts. Cobra knows long flags with two dashes
// only, and would show the marks of placeholders in their descriptions.
func (a *app) completeForScript(ctx context.Context, root *cobra.Command, asked []string) int {
	asked = slices.Clone(asked)
	last := len(asked) - 1
	one := oneDash(asked[last])
	if one {
		asked[last] = "-" + asked[last]
	}
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetArgs(rewriteCompletion(root, asked))
	if err := root.ExecuteContext(ctx); err != nil {
		return exitLocal
	}
	for line := range strings.Lines(out.String()) {
		if one && strings.HasPrefix(line, "--") {
			line = line[1:]
		}
		fmt.Fprint(a.stdout, strings.ReplaceAll(line, "`", ""))
	}
	return exitOK
}

// filesFor are the files that a word may name, also behind an at sign, as data has it.
func filesFor(word string) []string {
	before, name := "", word
	if i := strings.LastIndexAny(word, "@="); i >= 0 {
		before, name = word[:i+1], word[i+1:]
	}
	found, err := filepath.Glob(globQuoted(name) + "*")
	if err != nil {
		return nil
	}
	for i, file := range found {
		end := " "
		if info, err := os.Stat(file); err == nil && info.IsDir() {
			end = "/"
		}
		found[i] = before + file + end
	}
	return found
}

func globQuoted(name string) string {
	return strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`, `\`, `\\`).Replace(name)
}
