package cli

import "strings"

// guise is whose habits the program follows: its own or, when it is called so, those
// of vault and bao, for which it can stand in.
type guise struct {
	prefixes []string // of environment variables, in the order they are looked at
	tokens   []string // files in the home directory with the token; the first is written
	configs  []string // files in the home directory that may name a token helper
}

func guiseOf(program string) guise {
	switch program {
	case "vault":
		return guise{
			prefixes: []string{"VAULT_", "STRONGROOM_", "BAO_"},
			tokens:   []string{otherTokenFile, tokenFile}, configs: []string{".vault"},
		}
	case "bao":
		return guise{
			prefixes: []string{"BAO_", "VAULT_", "STRONGROOM_"},
			tokens:   []string{otherTokenFile, tokenFile}, configs: []string{".bao"},
		}
	}
	return guise{
		prefixes: []string{ownPrefix, "BAO_", "VAULT_"},
		tokens:   []string{tokenFile, otherTokenFile}, configs: []string{".strongroom", ".vault"},
	}
}

// ownPrefix begins the variables as the rest of the package names them.
const ownPrefix = "STRONGROOM_"

// environment makes a look-up of an own variable find the guise's first: package
// client asks for the own prefix before all others.
func (g guise) environment(getenv func(string) string) func(string) string {
	return func(name string) string {
		rest, own := strings.CutPrefix(name, ownPrefix)
		if !own {
			return getenv(name)
		}
		for _, prefix := range g.prefixes {
			if v := getenv(prefix + rest); v != "" {
				return v
			}
		}
		return ""
	}
}

// worded names variables and files in a text of this package as the guise has them.
func (g guise) worded(text string) string {
	return strings.NewReplacer(ownPrefix, g.prefixes[0], tokenFile, g.tokens[0]).Replace(text)
}
