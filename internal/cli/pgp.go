package cli

import (
	"encoding/base64"
	"fmt"
	"os"
	"strings"
)

// pgpKeys are the public keys that files hold, as the server takes them: base64
// without line ends. A file may be binary, base64, or armoured (RFC 9580 section 6).
func pgpKeys(flag string, files []string) ([]string, error) {
	var keys []string
	for _, name := range files {
		if user, ok := strings.CutPrefix(name, "keybase:"); ok {
			return nil, &exit{
				exitLocal, fmt.Sprintf("Error: -%s: keys are not fetched from keybase", flag),
				fmt.Sprintf("save the key of %s in a file, see that it is theirs, and give the file", user),
			}
		}
		raw, err := os.ReadFile(strings.TrimPrefix(name, "@"))
		if err != nil {
			return nil, usagef("-%s: %w", flag, err)
		}
		key, err := pgpKey(string(raw))
		if err != nil {
			return nil, usagef("-%s: %s: %w", flag, name, err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func pgpKey(text string) (string, error) {
	trimmed := strings.TrimSpace(text)
	if strings.HasPrefix(trimmed, "-----BEGIN PGP PRIVATE") {
		return "", fmt.Errorf("this is a private key: export the public one with gpg --export")
	}
	if strings.HasPrefix(trimmed, "-----BEGIN PGP") {
		trimmed = dearmoured(trimmed)
	}
	compact := strings.Join(strings.Fields(trimmed), "")
	if _, err := base64.StdEncoding.DecodeString(compact); err == nil && compact != "" {
		return compact, nil
	}
	if text != "" && text[0]&0x80 != 0 { // a packet's first byte, RFC 9580 section 4.2
		return base64.StdEncoding.EncodeToString([]byte(text)), nil
	}
	return "", fmt.Errorf("this is no PGP public key: export it with gpg --export")
}

// dearmoured is the base64 text within an armour: what stands between the empty line
// after its headers and its checksum or end.
func dearmoured(text string) string {
	var body []string
	inside := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case !inside:
			inside = line == ""
		case strings.HasPrefix(line, "=") || strings.HasPrefix(line, "-----"):
			return strings.Join(body, "")
		default:
			body = append(body, line)
		}
	}
	return strings.Join(body, "")
}
