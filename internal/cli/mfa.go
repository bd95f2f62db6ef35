package cli

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/strongroom/strongroom/client"
)

// typePasskey is the type of methods that are met with passkeys.
const typePasskey = "webauthn"

// requirement is what a login waits for: of each constraint, one method.
type requirement struct {
	ID          string `json:"mfa_request_id"`
	Constraints map[string]struct {
		Any []secondFactor `json:"any"`
	} `json:"mfa_constraints"`
}

// secondFactor is a method of a constraint.
type secondFactor struct {
	Type         string `json:"type"`
	ID           string `json:"id"`
	UsesPasscode bool   `json:"uses_passcode"`
	Name         string `json:"name"`
}

// called is the method as a person knows it.
func (f *secondFactor) called() string {
	if f.Name == "" {
		return f.Type
	}
	return f.Name
}

// requirementOf is what an answer to a login waits for; nil: nothing.
func requirementOf(s *client.Secret) *requirement {
	if s == nil || s.Auth == nil || s.Auth.ClientToken != "" {
		return nil
	}
	var r *requirement
	if json.Unmarshal(s.Auth.MFARequirement, &r) != nil || r == nil || r.ID == "" {
		return nil
	}
	return r
}

// passcodeTries is how often a person is asked for the passcodes of one login.
const passcodeTries = 3

// secondFactors asks for the passcodes and passkeys that a login waits for, and completes it. A person at a terminal is asked
// again where a passcode was among what was refused: the login waits on.
func (c *call) secondFactors(cl *client.Client, r *requirement) (*client.Secret, error) {
	for try := 1; ; try++ {
		payload := map[string][]string{}
		for _, name := range sortedKeys(r.Constraints) {
			if err := c.constraint(cl, r.ID, payload, name, r.Constraints[name].Any); err != nil {
				return nil, err
			}
		}
		s, err := cl.Write(c.ctx, "sys/mfa/validate", map[string]any{"mfa_request_id": r.ID, "mfa_payload": payload})
		if !errors.Is(err, client.ErrForbidden) || !r.typed(payload) || !c.asksPeople() || try == passcodeTries {
			return s, err
		}
		fmt.Fprintln(c.stderr, "That was refused: wrong, used before, or too late. Try again, and wait for the next passcode if you have typed this one before.")
	}
}

// typed reports whether a passcode is among what was shown.
func (r *requirement) typed(payload map[string][]string) bool {
	for _, one := range r.Constraints {
		for _, m := range one.Any {
			if m.UsesPasscode && payload[m.ID] != nil {
				return true
			}
		}
	}
	return false
}

// constraint asks for the passcode of one of some methods, of the next where a person gives none; and where none is
// given, for a passkey.
func (c *call) constraint(cl *client.Client, login string, payload map[string][]string, name string, methods []secondFactor) error {
	keys := 0
	for _, m := range methods {
		if payload[m.ID] != nil {
			return nil // by another constraint
		}
		if m.Type == typePasskey {
			keys++
		}
	}
	for _, m := range methods {
		if !m.UsesPasscode {
			continue
		}
		code, err := c.passcode(m.called(), keys > 0)
		if err != nil {
			return err
		}
		if code != "" {
			payload[m.ID] = []string{code}
			return nil
		}
	}
	for _, m := range methods {
		if m.Type != typePasskey {
			continue
		}
		answer, err := c.showPasskey(cl, login, m)
		if err != nil {
			return err
		}
		if answer != "" {
			payload[m.ID] = []string{answer}
			return nil
		}
	}
	if keys > 0 {
		return usagef("a passkey is needed for %s, and none of yours can be asked for: is one registered?", name)
	}
	return usagef("a passcode is needed for %s", name)
}

// passcode asks for a passcode; where there may be a passkey in its place, none need be given.
func (c *call) passcode(method string, mayPass bool) (string, error) {
	if !mayPass {
		return c.askSecret("Passcode of " + method)
	}
	return c.askLine("Passcode of " + method + ", or nothing to show a passkey")
}

// waiting shows what a login waits for to who cannot be asked.
func (c *call) waiting(s *client.Secret, l loginFlags) error {
	if l.tokenOnly {
		return usagef("the login needs a second factor, and -non-interactive forbids asking for it: give -mfa=METHOD:PASSCODE, where it is a passcode")
	}
	return c.secret(s)
}

// requirementRows are the rows that tell of what a login waits for.
func requirementRows(r *requirement) [][]string {
	rows := [][]string{{"mfa_request_id", r.ID}}
	for _, name := range sortedKeys(r.Constraints) {
		for _, m := range r.Constraints[name].Any {
			at := "mfa_constraint_" + name + "_" + m.Type
			uses := "false"
			if m.UsesPasscode {
				uses = "true"
			}
			rows = append(rows, []string{at + "_id", m.ID}, []string{at + "_uses_passcode", uses})
			if m.Name != "" {
				rows = append(rows, []string{at + "_name", m.Name})
			}
		}
	}
	return rows
}
