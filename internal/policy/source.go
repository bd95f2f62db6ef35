package policy

import (
	"fmt"
	"strings"
)

// MaxSourceBytes is the longest policy source that Parse takes, in bytes.
const MaxSourceBytes = 1 << 20

// maxDepth is how deep blocks and lists may nest. The language needs five.
const maxDepth = 16

// node is one value of a policy's source. HCL and JSON are both read into
// nodes, so that the language itself is checked once.
type node struct {
	kind   kind
	line   int
	text   string  // of a word, number or boolean
	fields []field // of a block, in the order of the source
	items  []node  // of a list
	spans  bool    // a text whose first line is the one below
}

type field struct {
	key  string
	line int
	val  node
}

type kind uint8

const (
	word kind = iota
	number
	boolean
	null
	list
	block
)

func (k kind) String() string {
	return [...]string{"a string", "a number", "a boolean", "null", "a list", "a block"}[k]
}

// readSource reads HCL, or JSON where the first character is a brace.
func readSource(src string) (node, *Fault) {
	if len(src) > MaxSourceBytes {
		return node{}, &Fault{1, fmt.Sprintf("the policy is longer than %d bytes", MaxSourceBytes), "split it into several policies"}
	}
	if strings.HasPrefix(strings.TrimSpace(src), "{") {
		return readJSON(src)
	}
	return readHCL(src)
}

func tooDeep(line int) *Fault {
	return &Fault{line, "blocks and lists nest too deep", `a policy holds path blocks, which hold lists and maps of lists`}
}

// blocks gives the blocks that a value stands for: itself, or the elements of
// a list of blocks, as tools that write JSON have it.
func (n *node) blocks() ([]node, bool) {
	if n.kind == block {
		return []node{*n}, true
	}
	if n.kind != list {
		return nil, false
	}
	for _, item := range n.items {
		if item.kind != block {
			return nil, false
		}
	}
	return n.items, true
}
