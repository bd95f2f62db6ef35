package ldap

import (
	"context"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/strongroom/strongroom/internal/api"
	"github.com/strongroom/strongroom/internal/store"
)

// A directory compares names by rules of its own (RFC 4518): it ignores case, runs of
// space, and characters that are not seen; some ignore accents. So what was typed names
// an account and is nothing more: what it is called is read from the directory.

// spell is a name as the directory is asked for it. What merely looks like another
// name is refused, whether or not somebody has it.
func spell(typed string) (string, error) {
	switch {
	case typed == "":
		return "", &api.Error{Kind: api.Invalid, Message: "missing username", Hint: "it ends the path: login/NAME"}
	case len(typed) > maxName || !utf8.ValidString(typed):
		return "", api.Errorf(api.Invalid, "username: is longer than %d bytes, or not UTF-8", maxName)
	case strings.TrimSpace(typed) != typed || strings.Contains(typed, "  "):
		return "", api.Errorf(api.Invalid, "username: begins or ends with space, or has two together")
	}
	name := norm.NFC.String(typed)
	if strings.ContainsFunc(name, unseen) || !norm.NFKC.IsNormalString(name) {
		return "", api.Errorf(api.Invalid, "username: holds a character that does not print, or stands for another")
	}
	return name, nil
}

// unseen reports whether a character does not show, or is taken for an ASCII letter
// that it is not.
func unseen(r rune) bool {
	switch {
	case r == ' ':
		return false
	case !unicode.IsPrint(r), unicode.Is(unicode.Variation_Selector, r), unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r):
		return true
	case r <= unicode.MaxASCII:
		return false
	}
	for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
		if f <= unicode.MaxASCII {
			return true
		}
	}
	return unicode.ToLower(r) <= unicode.MaxASCII
}

// tidy is a name in one form of Unicode, without space around it or runs of it within.
func tidy(name string) string { return norm.NFC.String(strings.Join(strings.Fields(name), " ")) }

// fold is what all spellings that a directory may take for one name have in common.
// It is for comparing with what the directory answered, and for counting.
func fold(name string) string {
	bare := strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Mn, r) || unicode.Is(unicode.Cf, r) {
			return -1
		}
		return r
	}, norm.NFKD.String(name))
	return strings.ToLower(strings.ToUpper(tidy(bare))) // ſ and ς by way of their capitals
}

// spelling is the name of an alias, of a person or a group, as logins of a mount give it. A name that nobody
// could be called by stays as it is.
func spelling(ctx context.Context, mount store.Store, name string) (string, error) {
	cfg, err := settings(func(key string) (store.Entry, error) { return mount.Get(ctx, key) })
	switch {
	case err != nil:
		return "", err
	case cfg == nil:
		cfg = defaults()
	}
	if canonical := cfg.canonical(name); canonical != "" {
		return canonical, nil
	}
	return name, nil
}

// canonical is a name that the directory answered as the method calls it; empty for
// one that nobody could be called by.
func (cfg *config) canonical(value string) string {
	name := tidy(value)
	if !cfg.CaseSensitive {
		name = strings.ToLower(name)
	}
	if !utf8.ValidString(value) || len(name) > maxName || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return ""
	}
	return name
}
