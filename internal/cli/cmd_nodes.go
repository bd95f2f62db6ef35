package cli

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/spf13/pflag"

	"github.com/strongroom/strongroom/client"
)

// nodeCommands are those of operator that are about nodes, most of which have a
// meaning only where one node leads.
func nodeCommands() []command {
	return append([]command{operatorNodes(), operatorStorage(), operatorMembers(), operatorStepDown(), operatorUsage(), snapshotCommands(), raftCommands()}, in("operator",
		refusal("migrate", "Refused: another store's data is not taken over as it is",
			"stores of other programs cannot be read",
			"from one kind of Strongroom's stores to another: operator snapshot save, then operator snapshot restore"),
	)...)
}

func operatorNodes() command {
	return command{
		use: "nodes", short: "List the nodes on the server's store",
		long: "Each node tells every ten seconds how it is. One that was not heard of for a minute\n" +
			"is lost: it was killed, or cannot reach the store. After an hour it is gone, and after\n" +
			"a day no longer listed. A process that was killed and started again at the same address\n" +
			"is one node. LAG is how long it had taken to catch up with the store's commits. A clock\n" +
			"that is wrong is told where it is half a minute off that of the node that answers.",
		example: "operator nodes\noperator nodes -format=json",
		run: connected(func(c *call, cl *client.Client) error {
			s, err := cl.Read(c.ctx, "sys/nodes", nil)
			if err != nil {
				return failed(err, "listing the nodes")
			}
			nodes, _ := s.Data["nodes"].([]any)
			var rows [][]string
			for _, v := range nodes {
				n, ok := v.(map[string]any)
				if !ok {
					continue
				}
				id := cell(n["id"])
				if n["id"] == s.Data["self"] {
					id += " (this one)"
				}
				rows = append(rows, []string{id, cell(n["hostname"]), cell(n["api_address"]), nodeState(n), cell(n["version"]),
					cell(n["lag_ms"]) + "ms", cell(n["last_seen"])})
			}
			return c.show(s.Data, s.Data, func() error {
				return c.table([]string{"Node", "Host Name", "API Address", "State", "Version", "Lag", "Last Seen"}, rows)
			})
		}),
	}
}

// nodeState is how a node is, and what its clock says where that is wrong.
func nodeState(n map[string]any) string {
	state := cell(n["state"])
	ms, err := strconv.ParseInt(cell(n["clock_ms"]), 10, 64)
	switch {
	case err != nil || ms == 0:
		return state
	case ms < 0:
		return state + ", its clock is " + humanSeconds(-ms/1000) + " behind"
	}
	return state + ", its clock is " + humanSeconds(ms/1000) + " ahead"
}

func operatorMembers() command {
	return command{
		use: "members", short: "List the nodes that the server knows of", example: "operator members",
		run: connected(func(c *call, cl *client.Client) error {
			s, err := cl.Read(c.ctx, "sys/ha-status", nil)
			if err != nil {
				return failed(err, "listing the nodes")
			}
			nodes, _ := s.Data["nodes"].([]any)
			var rows [][]string
			for _, v := range nodes {
				if n, ok := v.(map[string]any); ok {
					rows = append(rows, []string{
						cell(n["hostname"]), cell(n["api_address"]), cell(n["cluster_address"]), cell(n["active_node"]),
						cell(n["version"]), cell(n["upgrade_version"]), cell(n["last_echo"]),
					})
				}
			}
			return c.show(s.Data, s.Data, func() error {
				return c.table([]string{
					"Host Name", "API Address", "Cluster Address", "Active Node", "Version", "Upgrade Version", "Last Echo",
				}, rows)
			})
		}),
	}
}

func operatorStepDown() command {
	return command{
		use: "step-down", short: "Make the leading node give up its lead, where one leads",
		long: "Nodes of Strongroom have no leader: each serves everything. To take one out of\n" +
			"service, end it with SIGTERM: it finishes the requests under way.",
		example: "operator step-down",
		run: connected(func(c *call, cl *client.Client) error {
			_, err := cl.Do(c.ctx, client.Request{Method: http.MethodPut, Path: "sys/step-down"})
			var api *client.Error
			if errors.As(err, &api) && (errors.Is(err, client.ErrNotFound) || errors.Is(err, client.ErrBadRequest)) {
				return &exit{
					exitServer, "Error: no node leads: each serves everything, so that none can step down",
					"to take a node out of service, end it with SIGTERM: it finishes the requests under way",
				}
			}
			if err != nil {
				return failed(err, "stepping down")
			}
			if leader, err := cl.Sys().Leader(c.ctx); err == nil && (!leader.HAEnabled || leader.IsSelf) {
				return c.say("Nothing has changed: no node leads at %s, each serves everything.\n"+
					"To take a node out of service, end it with SIGTERM: it finishes the requests under way.", cl.Address())
			}
			return c.say("Success! Stepped down: %s", cl.Address())
		}),
	}
}

func operatorUsage() command {
	var start, end string
	return command{
		use: "usage", short: "Show how many clients used the server", example: "operator usage -start-time=2026-01-01T00:00:00Z",
		long: "Times are RFC 3339 (2026-01-31T00:00:00Z), or seconds since 1970.",
		flags: func(f *pflag.FlagSet) {
			f.StringVar(&start, "start-time", "", "`time` to count from")
			f.StringVar(&end, "end-time", "", "`time` to count to")
		},
		run: connected(func(c *call, cl *client.Client) error {
			data := map[string]any{}
			for name, v := range map[string]string{"start_time": start, "end_time": end} {
				if v != "" {
					data[name] = v
				}
			}
			s, err := cl.Read(c.ctx, "sys/internal/counters/activity", query(data))
			if err != nil {
				return failed(err, "asking for the usage")
			}
			if s == nil {
				return &exit{exitServer, "Error: the server has counted nothing in that time", "leave -start-time and -end-time out, or give a longer time"}
			}
			return c.show(s.Data, s.Data, func() error { return c.table(usageTable(s)) })
		}),
	}
}

// usageTable has a row for each namespace, and the total below.
func usageTable(s *client.Secret) (header []string, rows [][]string) {
	header = []string{"Namespace", "Distinct Entities", "Non-Entity Tokens", "Active Clients"}
	row := func(name string, counts map[string]any) {
		rows = append(rows, []string{name, cell(counts["distinct_entities"]), cell(counts["non_entity_tokens"]), cell(counts["clients"])})
	}
	list, _ := s.Data["by_namespace"].([]any)
	for _, v := range list {
		ns, _ := v.(map[string]any)
		counts, _ := ns["counts"].(map[string]any)
		name := cell(ns["namespace_path"])
		if name == "" {
			name = "[root]"
		}
		row(name, counts)
	}
	total, _ := s.Data["total"].(map[string]any)
	row("Total", total)
	return header, rows
}

func versionHistoryCommand() command {
	return command{
		use: "version-history", short: "List the versions that the store was served with", example: "version-history",
		run: connected(func(c *call, cl *client.Client) error {
			s, err := cl.List(c.ctx, "sys/version-history", client.Page{})
			if err != nil {
				return failed(err, "listing the versions")
			}
			info, _ := s.Data["key_info"].(map[string]any)
			var rows [][]string
			for _, version := range s.Keys() {
				of, _ := info[version].(map[string]any)
				rows = append(rows, []string{version, cell(of["timestamp_installed"]), cell(of["commit_date"])})
			}
			return c.show(s.Data, s.Data, func() error {
				return c.table([]string{"Version", "Installation Time", "Commit Date"}, rows)
			})
		}),
	}
}
