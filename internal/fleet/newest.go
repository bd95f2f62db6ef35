//go:build !nextformat

package fleet

// Format is the newest stored format that this version reads and writes. It goes
// up when rows are written that an older version cannot read; until all nodes
// have it, they write the format before.
const Format = 1
