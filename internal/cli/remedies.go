package cli

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/strongroom/strongroom/client"
)

// remedy is what can be done about a refusal of which the server says no more than
// what is wrong.
type remedy struct {
	says string // in the server's words, which choose the remedy and decide nothing
	do   string // with PROGRAM for the name the program goes by
}

const noLease = "it has ended, is misspelt, or is of another namespace: see PROGRAM list sys/leases/lookup/PATH"

func remedies() []remedy {
	return []remedy{
		{"unsupported path", "the server has no such endpoint: check the path's spelling, and the server's version with PROGRAM status"},
		{"no handler for route", "nothing is mounted there: see PROGRAM secrets list and PROGRAM auth list"},
		{"no mount entry found", "nothing is mounted there: see PROGRAM secrets list and PROGRAM auth list"},
		{"no matching mount", "nothing is mounted there: see PROGRAM secrets list and PROGRAM auth list"},
		{"path is already in use", "give another -path, or change what is there with tune"},
		{"plugin not found in the catalog", "see PROGRAM plugin list for the types there are"},
		{"must be an object of texts", "write NAME=KEY=VALUE for each, or give all data as a JSON object in @FILE or -"},
		{"must be an object", "give all data as a JSON object in @FILE or -"},
		{"no data provided", "give KEY=VALUE, @FILE or -"},
		{"check-and-set parameter", "somebody has written meanwhile: read it again, and give the current version in -cas"},
		{"namespace not found", "see PROGRAM namespace list, and check -namespace and STRONGROOM_NAMESPACE"},
		{"this server unseals itself", "the keys that people hold are its recovery keys: -target=recovery is about those"},
		{"already initialized", "its keys were shown when that was done: PROGRAM operator unseal takes them"},
		{"wrapping token is not valid", "it was used, has ended or is misspelt: ask for another; if you did not use it, somebody else may have read what was in it"},
		{"lease not found", noLease},
		{"invalid lease", noLease},
		{"lease is not renewable", "get a new one: nothing makes this one last longer"},
		{"token not found", "it has ended, or is misspelt"},
		{"invalid accessor", "it is misspelt, or its token has ended: see PROGRAM list auth/token/accessors"},
		{"bad token", "the token asked about has ended, or is misspelt"},
		{"no key slot has this id", "PROGRAM operator key-slot list shows those there are"},
		{"must be between 1 and secret_shares", "-key-threshold is how many of the -key-shares are needed: give both"},
		{"invalid token", "it has ended, or is misspelt"},
		{"batch tokens cannot be root", "give the policies it shall have in -policy"},
		{"user_lockout_config: lockout_threshold", "PROGRAM auth tune -user-lockout-disable PATH has it lock nobody, and -user-lockout-disable=false lock again"},
		{"invalid 'token_type'", "-type is service or batch"},
	}
}

func (a *app) remedy(err *client.Error) string {
	for _, r := range remedies() {
		if mentions(err.Messages, r.says) {
			return strings.ReplaceAll(r.do, "PROGRAM", a.name)
		}
	}
	switch {
	case err.Status == http.StatusMethodNotAllowed:
		return fmt.Sprintf("this is not done at that path: %s path-help %s shows what is", a.name, err.Path)
	case err.Status == http.StatusNotFound && len(err.Messages) == 0 && len(err.Warnings()) == 0:
		return fmt.Sprintf("nothing of that name is there: check its spelling, and -namespace; %s path-help %s shows what the path is for", a.name, err.Path)
	}
	return ""
}
