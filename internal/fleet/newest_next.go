//go:build nextformat

package fleet

// Format is that of a version to come. It serves only to show, in test/chaos, how nodes of two versions get on.
const Format = 2
