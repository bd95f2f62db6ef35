package cli

// refusal is a command of the dialect that has no meaning here: it says so and what
// to do instead, whatever its arguments are.
func refusal(use, short, why, remedy string) command {
	return command{
		use: use, short: short, long: why + "\n" + remedy, anyFlags: true, args: atLeast(0),
		run: func(c *call) error { return &exit{exitServer, "Error: " + why, remedy} },
	}
}

// in gives refused commands their examples, which name their family.
func in(family string, subs ...command) []command {
	for i := range subs {
		if subs[i].example == "" {
			subs[i].example = family + " " + subs[i].use
		}
	}
	return subs
}
