// Package spelling owns what was probably meant by a name that is not known.
package spelling

import "strings"

// Distance is how many letters must be added, dropped, replaced or, where they are neighbours, swapped to make b of a (the optimal
// string alignment distance).
func Distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			replaced := last[j]
			if a[i] != b[j] {
				replaced++
			}
			row[j+1] = min(replaced, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

// Nearest is the one of names, of which there is at least one, that is least far from word; the first of several.
func Nearest(word string, names []string) string {
	best := names[0]
	for _, name := range names[1:] {
		if Distance(word, name) < Distance(word, best) {
			best = name
		}
	}
	return best
}

// longest is the most bytes of a word that is compared at all: nobody means a setting by more.
const longest = 64

// Meant is the one of names that word is probably a slip for: at most a letter in three is wrong, and two at most.
// Case does not count, nor which dash there is. Empty: none is.
func Meant(word string, names []string) string {
	if len(names) == 0 || len(word) > longest {
		return ""
	}
	word = strings.ReplaceAll(strings.ToLower(word), "-", "_")
	best := Nearest(word, names)
	if wrong := Distance(word, best); wrong < len(word) && wrong <= min(max(len(word)/3, 1), 2) {
		return best
	}
	return ""
}
