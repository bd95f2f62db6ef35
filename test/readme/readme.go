// Package readme has what README.md and the guides tell people to run.
package readme

import "strings"

// Runnable is the text of every block that is fenced as "sh runnable", in order.
func Runnable(text string) []string {
	var blocks []string
	parts := strings.Split(text, "\n```sh runnable\n")
	for _, part := range parts[1:] {
		block, _, _ := strings.Cut(part, "\n```")
		blocks = append(blocks, block)
	}
	return blocks
}
