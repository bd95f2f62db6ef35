// Package canary owns looking for secrets: the spellings in which one could lie
// somewhere, and the search for them. It is for tests alone.
package canary

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode/utf16"
)

// Forms are the spellings of a secret by what they are called: as it is, in hex of both
// cases, in base64 of both alphabets wherever in a longer text it stands, as
// parts of URLs, of JSON and of what package fmt prints, and some more.
func Forms(secret string) map[string][]byte {
	out := map[string][]byte{"raw": []byte(secret), "hex": []byte(hex.EncodeToString([]byte(secret))), "url": []byte(url.QueryEscape(secret)), "path": []byte(url.PathEscape(secret))}
	out["HEX"] = bytes.ToUpper(out["hex"])
	if quoted, err := json.Marshal(secret); err == nil {
		out["json"] = quoted[1 : len(quoted)-1]
	}
	out["go"] = []byte(strings.Trim(fmt.Sprintf("%q", secret), `"`))
	out["go twice"] = []byte(strings.Trim(fmt.Sprintf("%q", out["go"]), `"`))
	out["bytes"] = []byte(strings.Trim(fmt.Sprint([]byte(secret)), "[]"))
	for shift := range 3 { // wherever in a longer text it stands
		padded := append(make([]byte, shift), secret...)
		for name, enc := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
			text := enc.EncodeToString(padded)
			out[fmt.Sprint(name, shift)] = []byte(text[(shift*8+5)/6 : len(padded)*8/6])
		}
	}
	var wide []byte
	for _, u := range utf16.Encode([]rune(secret)) {
		wide = append(wide, byte(u), byte(u>>8))
	}
	out["utf-16"] = wide
	back := []byte(secret)
	slices.Reverse(back)
	out["backwards"] = back
	return out
}

// Leaks says where any form of any secret stands: secrets and places go by what
// they are called.
func Leaks(places map[string][]byte, secrets map[string]string) []string {
	var found []string
	for what, secret := range secrets {
		for form, pattern := range Forms(secret) {
			for where, content := range places {
				if bytes.Contains(content, pattern) {
					found = append(found, what+" as "+form+" in "+where)
				}
			}
		}
	}
	slices.Sort(found)
	return found
}
