package cli

import (
	"net/http"
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
		subs: []command{storageMembers(), storageAdd(), storageRemove()},
	}
}

func storageMembers() command {
	return command{
		use: "members", short: "List the members", example: "operator storage members",
		run: connected(func(c *call, cl *client.Client) error {
			s, err := cl.Read(c.ctx, membersPath, nil)
			if err != nil {
				return failed(err, "listing the members")
			}
			list, _ := s.Data["members"].([]any)
			var rows [][]string
			for _, v := range list {
				m, _ := v.(map[string]any)
				urls, _ := m["peer_urls"].([]any)
				var texts []string
				for _, u := range urls {
					texts = append(texts, cell(u))
				}
				rows = append(rows, []string{cell(m["id"]), cell(m["name"]), strings.Join(texts, ", "), cell(m["started"]), cell(m["leader"])})
			}
			return c.show(s.Data, s.Data, func() error {
				return c.table([]string{"Member", "Name", "Peer URLs", "Started", "Leader"}, rows)
			})
		}),
	}
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
	return command{
		use: "remove ID", short: "Take a member out for ever", args: exactly(1),
		long:    "What its node has in its directory is of no more use. The ids are those that\noperator storage members lists.",
		example: "operator storage remove 8e9e05c52164694d",
		run: connected(func(c *call, cl *client.Client) error {
			if _, err := cl.Do(c.ctx, client.Request{Method: http.MethodDelete, Path: membersPath + "/" + c.args[0]}); err != nil {
				return failed(err, "removing the member")
			}
			return c.say("Success! The member %s is out.", c.args[0])
		}),
	}
}
