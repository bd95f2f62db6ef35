package cli

import "strings"

// refusal is a command of the dialect that has no meaning here: it says so and what
// to do instead, whatever its arguments are.
func refusal(use, short, why, remedy string) command {
	return command{
		use: use, short: short, long: sentence(why) + "\n" + sentence(remedy), anyFlags: true, args: atLeast(0),
		run: func(c *call) error { return &exit{exitServer, "Error: " + why, remedy} },
	}
}

// sentence is what stands in an error as it stands in a help text.
func sentence(text string) string { return strings.ToUpper(text[:1]) + text[1:] + "." }

// in gives refused commands their examples, which name their family.
func in(family string, subs ...command) []command {
	for i := range subs {
		if subs[i].example == "" {
			subs[i].example = family + " " + subs[i].use
		}
	}
	return subs
}
