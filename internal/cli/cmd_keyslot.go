package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"github.com/strongroom/strongroom/client"
)

const slotsPath = "sys/key-slots"

func operatorKeySlots() command {
	return command{
		use: "key-slot", short: "Manage the ways to unseal",
		long: "Each key slot unseals on its own: key shares that people hold, or a file on the\n" +
			"server. Slots are added, tested and removed while the server runs.",
		example: "operator key-slot list\noperator key-slot add shamir\noperator key-slot test 3f9a1c2b\noperator key-slot remove -dry-run 3f9a1c2b",
		subs:    []command{slotList(), slotAdd(), slotTest(), slotRemove()},
	}
}

func slotList() command {
	return command{
		use: "list", short: "List the key slots", example: "operator key-slot list",
		run: connected(func(c *call, cl *client.Client) error {
			s, err := cl.List(c.ctx, slotsPath, client.Page{})
			if err != nil {
				return failed(err, "listing the key slots")
			}
			return c.show(s.Data, s.Data, func() error { return c.println(slotTable(s.Data)) })
		}),
	}
}

func slotTable(data map[string]any) string {
	info, ok := data["key_info"].(map[string]any)
	if !ok {
		return ""
	}
	var rows [][]string
	for _, id := range sortedKeys(info) {
		slot, ok := info[id].(map[string]any)
		if !ok {
			continue
		}
		needs := ""
		if t := slot["secret_threshold"]; t != nil {
			needs = fmt.Sprintf("%v of %v shares", t, slot["secret_shares"])
		}
		rows = append(rows, []string{id, fmt.Sprint(slot["kind"]), fmt.Sprint(slot["name"]), needs})
	}
	return table([]string{"Slot", "Kind", "Name", "Needs"}, rows)
}

func slotAdd() command {
	var name string
	var shares, threshold int
	return command{
		use: "add KIND", short: "Add a key slot: shamir (key shares) or file", args: exactly(1),
		long: "The key shares of a shamir slot are shown this once. Without -key-shares and\n" +
			"-key-threshold there are 5, of which 3 unseal.",
		example: "operator key-slot add -key-shares=5 -key-threshold=3 -name=board shamir\noperator key-slot add file",
		flags: func(f *pflag.FlagSet) {
			f.StringVar(&name, "name", "", "`name` by which people know the slot")
			f.IntVarP(&shares, "key-shares", "n", 0, "`number` of key shares to make")
			f.IntVarP(&threshold, "key-threshold", "t", 0, "`number` of shares that unseal")
		},
		check: func(c *call) error {
			if c.given("key-shares") != c.given("key-threshold") {
				return usagef("-key-shares and -key-threshold go together")
			}
			if c.args[0] == "shamir" && !c.given("key-shares") {
				shares, threshold = 5, 3
			}
			return nil
		},
		run: connected(func(c *call, cl *client.Client) error {
			s, err := cl.Write(c.ctx, slotsPath, map[string]any{"kind": c.args[0], "name": name, "secret_shares": shares, "secret_threshold": threshold})
			if err != nil {
				return failed(err, "adding a key slot")
			}
			return c.show(s.Data, s.Data, func() error { return c.println(slotAdded(s.Data)) })
		}),
	}
}

func slotAdded(data map[string]any) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Success! Added the key slot %v.", data["id"])
	keys, _ := data["keys_base64"].([]any) // a file slot has none
	for i, k := range keys {
		fmt.Fprintf(&b, "\nUnseal Key %d: %v", i+1, k)
	}
	if len(keys) > 0 {
		b.WriteString("\n\nNobody can show these again: hand them to their keepers, and test the slot.")
	}
	return b.String()
}

func slotTest() command {
	return command{
		use: "test SLOT [KEY...]", short: "Try whether a key slot would unseal", args: atLeast(1), complete: completeSlot,
		long:    "A shamir slot needs as many of its key shares as its threshold says. Without KEY they\nare asked for, hidden.",
		example: "operator key-slot test 3f9a1c2b",
		run: connected(func(c *call, cl *client.Client) error {
			keys, err := c.slotKeys(cl)
			if err != nil {
				return err
			}
			if _, err := cl.Write(c.ctx, client.JoinPath(slotsPath, c.args[0], "test"), map[string]any{"keys": keys}); err != nil {
				return failed(err, "testing the key slot")
			}
			return c.say("Success! The key slot unseals.")
		}),
	}
}

// slotKeys are the key shares given, or asked for as many as the slot needs.
func (c *call) slotKeys(cl *client.Client) ([]string, error) {
	if len(c.args) > 1 {
		return c.args[1:], nil
	}
	s, err := cl.List(c.ctx, slotsPath, client.Page{})
	if err != nil {
		return nil, failed(err, "listing the key slots")
	}
	needed := 0
	if info, ok := s.Data["key_info"].(map[string]any); ok {
		if slot, ok := info[c.args[0]].(map[string]any); ok {
			if _, err := fmt.Sscan(fmt.Sprint(slot["secret_threshold"]), &needed); err != nil {
				needed = 0 // a slot without shares
			}
		}
	}
	keys := make([]string, needed)
	for i := range keys {
		if keys[i], err = c.askSecret(fmt.Sprintf("Key share %d of %d", i+1, needed)); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// completeSlot suggests the ids of key slots.
func completeSlot(c *call, cl *client.Client, _ string) ([]string, error) {
	s, err := cl.List(c.ctx, slotsPath, client.Page{})
	return s.Keys(), err
}

// slotText is a key slot in words.
func slotText(id string, info map[string]any) string {
	slot, _ := info[id].(map[string]any)
	text := id + " (" + fmt.Sprint(slot["kind"])
	if name := cell(slot["name"]); name != "" {
		text += ", " + name
	}
	if t := slot["secret_threshold"]; t != nil {
		text += fmt.Sprintf(", %v of %v shares", t, slot["secret_shares"])
	}
	return text + ")"
}

// wouldRemoveSlot tells which slot would go, and which would be left to unseal.
func (c *call) wouldRemoveSlot(cl *client.Client, id string) error {
	s, err := cl.List(c.ctx, slotsPath, client.Page{})
	if err != nil {
		return failed(err, "listing the key slots")
	}
	info, _ := s.Data["key_info"].(map[string]any)
	if info[id] == nil {
		return &exit{exitServer, "There is no key slot " + id, "check the id's spelling: operator key-slot list shows those there are"}
	}
	left := []string{}
	for _, other := range sortedKeys(info) {
		if other != id {
			left = append(left, slotText(other, info))
		}
	}
	after := "No other would be left, so that the server refuses it."
	if len(left) > 0 {
		after = "These are left to unseal: " + strings.Join(left, ", ") + "."
	}
	return c.would(map[string]any{"would_remove": id, "left": left}, "remove the key slot %s. %s", slotText(id, info), after)
}

func slotRemove() command {
	var dry dryRun
	return command{
		use: "remove SLOT", short: "Remove a key slot", args: exactly(1), complete: completeSlot,
		long:    "From then on it does not unseal any more. The last slot cannot be removed.",
		example: "operator key-slot remove -dry-run 3f9a1c2b\noperator key-slot remove 3f9a1c2b",
		flags:   dry.flag,
		run: connected(func(c *call, cl *client.Client) error {
			if dry.on {
				return c.wouldRemoveSlot(cl, c.args[0])
			}
			if _, err := cl.Delete(c.ctx, client.JoinPath(slotsPath, c.args[0]), nil); err != nil {
				return failed(err, "removing the key slot")
			}
			return c.say("Success! Removed the key slot %s.", c.args[0])
		}),
	}
}
