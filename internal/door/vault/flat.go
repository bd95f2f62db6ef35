package vault

import (
	"bytes"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// envelopeNames are the members of the envelope. Clients read names in any case.
var envelopeNames = []string{"request_id", "lease_id", "renewable", "lease_duration", "data", "wrap_info", "warnings", "auth", "mount_type"}

// appendFlat appends the members of an object, each with a comma behind it, but
// for those that clients would take for the envelope's: a path or a mount may be
// called auth.
func appendFlat(b, object []byte) []byte {
	d := jsontext.NewDecoder(bytes.NewReader(object))
	if _, err := d.ReadToken(); err != nil || d.StackDepth() != 1 || object[0] != '{' {
		return b
	}
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			return b
		}
		key := name.String()
		value, err := d.ReadValue()
		if err != nil {
			return b
		}
		if slices.ContainsFunc(envelopeNames, func(n string) bool { return strings.EqualFold(n, key) }) {
			continue
		}
		b = append(appendText(b, key), ':')
		b = append(append(b, value...), ',')
	}
	return b
}
