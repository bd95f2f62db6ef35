package cli

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/client"
)

const membersPath = "sys/storage/members"

func operatorStorage() command {
	return command{
		use: "storage", short: "Manage the members of a store that the nodes have in themselves",
		long: "With storage \"etcd\" and members in the configuration, each node runs a member of\n" +
			"etcd. More than half of the members must live for anything to be written.\n\n" +
			"To replace a node that has lost its directory: remove its member, add a member at\n" +
			"the same URL, and start the node with an empty directory.",
		example: "operator storage members\noperator storage add https://10.0.0.4:2380\noperator storage remove -dry-run c",
		subs:    []command{storageMembers(), storageAdd(), storageRemove()},
	}
}

func storageMembers() command {
	return command{
		use: "members", short: "List the members", example: "operator storage members",
		long: "STARTED says whether a member has ever taken part, ANSWERS whether it answers now,\n" +
			"when the node that is asked asks it.",
		run: connected(func(c *call, cl *client.Client) error {
			s, list, err := c.members(cl)
			if err != nil {
				return err
			}
			var rows [][]string
			for _, m := range list {
				rows = append(rows, []string{cell(m["id"]), cell(m["name"]), memberURLs(m), cell(m["started"]), cell(m["answers"]), cell(m["leader"])})
			}
			return c.show(s.Data, s.Data, func() error {
				return c.table([]string{"Member", "Name", "Peer URLs", "Started", "Answers", "Leader"}, rows)
			})
		}),
	}
}

// members asks for the store's members.
func (c *call) members(cl *client.Client) (*client.Secret, []map[string]any, error) {
	s, err := cl.Read(c.ctx, membersPath, nil)
	if err != nil {
		return nil, nil, failed(err, "listing the members")
	}
	var out []map[string]any
	list, _ := s.Data["members"].([]any)
	for _, v := range list {
		if m, ok := v.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return s, out, nil
}

// memberURLs are where other members reach one.
func memberURLs(m map[string]any) string {
	urls, _ := m["peer_urls"].([]any)
	var texts []string
	for _, u := range urls {
		texts = append(texts, cell(u))
	}
	return strings.Join(texts, ", ")
}

// memberText is a member in words.
func memberText(m map[string]any) string {
	return strings.TrimSpace(fmt.Sprintf("%s (%s) at %s", cell(m["name"]), cell(m["id"]), memberURLs(m)))
}

// memberCalled is the one member that has an id, a name or a URL. An id goes before a name.
func memberCalled(what string, list []map[string]any) (map[string]any, error) {
	for _, is := range []func(map[string]any) bool{
		func(m map[string]any) bool { return cell(m["id"]) == what },
		func(m map[string]any) bool { return cell(m["name"]) == what },
		func(m map[string]any) bool { return slices.Contains(strings.Split(memberURLs(m), ", "), what) },
	} {
		var found []map[string]any
		for _, m := range list {
			if what != "" && is(m) {
				found = append(found, m)
			}
		}
		switch {
		case len(found) == 1:
			return found[0], nil
		case len(found) > 1:
			return nil, &exit{exitServer, fmt.Sprintf("Error: %d members are called %s", len(found), what), "give the id of the one that is meant: operator storage members"}
		}
	}
	return nil, &exit{exitServer, "There is no member " + what, "give the id, the name or the peer URL of one: operator storage members"}
}

// completeMember suggests the names of members, and the ids of those without one.
func completeMember(c *call, cl *client.Client, _ string) (out []string, err error) {
	_, list, err := c.members(cl)
	for _, m := range list {
		out = append(out, cmp.Or(cell(m["name"]), cell(m["id"])))
	}
	return out, err
}

func storageAdd() command {
	return command{
		use: "add URL", short: "Make room for a member", args: exactly(1),
		long: "The member counts from then on, also before it has started. Start its node next,\n" +
			"with an empty directory, and with the member in its configuration.",
		example: "operator storage add https://10.0.0.4:2380",
		run: connected(func(c *call, cl *client.Client) error {
			if _, err := cl.Write(c.ctx, membersPath, map[string]any{"peer_url": c.args[0]}); err != nil {
				return failed(err, "adding the member")
			}
			return c.say("Success! There is room for the member at %s: start its node.", c.args[0])
		}),
	}
}

func storageRemove() command {
	var dry dryRun
	return command{
		use: "remove MEMBER", short: "Take a member out for ever", args: exactly(1), complete: completeMember,
		long:    "What its node has in its directory is of no more use. MEMBER is the id, the name or the\npeer URL that operator storage members lists.",
		example: "operator storage remove -dry-run c\noperator storage remove 8e9e05c52164694d",
		flags:   dry.flag,
		run: connected(func(c *call, cl *client.Client) error {
			_, list, err := c.members(cl)
			if err != nil {
				return err
			}
			m, err := memberCalled(c.args[0], list)
			if err != nil {
				return err
			}
			if dry.on {
				return c.wouldRemoveMember(m, list)
			}
			if _, err := cl.Do(c.ctx, client.Request{Method: http.MethodDelete, Path: membersPath + "/" + cell(m["id"])}); err != nil {
				return failed(err, "removing the member")
			}
			return c.say("Success! The member %s is out.", memberText(m))
		}),
	}
}

// wouldRemoveMember tells which member would go, and whether those that stay are enough.
func (c *call) wouldRemoveMember(m map[string]any, list []map[string]any) error {
	stay, answer := 0, 0
	for _, other := range list {
		if cell(other["id"]) == cell(m["id"]) {
			continue
		}
		stay++
		if other["answers"] == true {
			answer++
		}
	}
	data := map[string]any{"would_remove": m["id"], "stay": stay, "answer": answer, "needed": stay/2 + 1}
	return c.would(data, "remove the member %s. Of the %d that stay %d answer, and %d must for anything to be written.", memberText(m), stay, answer, stay/2+1)
}
