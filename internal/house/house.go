// Package house owns the house rules as tests over the repository's own
// source: which package may import which, how long things are, what must have a
// comment and what must not appear anywhere. A rule stands in one table beside a
// snippet that breaks it, so that each is seen to fail.
package house
