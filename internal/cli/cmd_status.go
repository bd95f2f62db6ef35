package cli

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/strongroom/strongroom/client"
)

// sealReport is a seal status with what people also want to see of the cluster, and of the namespace in force.
type sealReport struct {
	client.SealStatus
	HAEnabled     bool   `json:"ha_enabled"`
	IsSelf        bool   `json:"is_self,omitempty"`
	LeaderAddress string `json:"leader_address,omitempty"`
	Namespace     string `json:"namespace_path,omitempty"`
	// NamespaceSealed is nil without a namespace, and where the token may not look.
	NamespaceSealed *bool `json:"namespace_sealed,omitempty"`
}

func statusCommand() command {
	return command{
		use: "status", short: "Show whether the server is sealed",
		long: "The exit code is 0 when it is unsealed, 2 when it is sealed, 1 on any error.\n" +
			"With a namespace in force (-namespace) it is 2, too, when that is sealed; the token must\n" +
			"be one that may read sys/namespaces/NAME above it.",
		example: "status\nstatus -format=json\nstatus -namespace=team",
		run: connected(func(c *call, cl *client.Client) error {
			// A sealed server knows no namespaces.
			s, err := cl.WithNamespace("").Sys().SealStatus(c.ctx)
			if err != nil {
				return local(failed(err, "asking for the seal status"))
			}
			report, err := c.sealReport(cl, s)
			if err != nil {
				return local(err)
			}
			if err := c.showSeal(report); err != nil {
				return local(err)
			}
			if s.Sealed || report.NamespaceSealed != nil && *report.NamespaceSealed {
				return &exit{code: exitServer}
			}
			return nil
		}),
	}
}

// sealStatus shows how far the server is from being unsealed.
func (c *call) sealStatus(cl *client.Client, s *client.SealStatus) error {
	report, err := c.sealReport(cl.WithNamespace(""), s)
	if err != nil {
		return err
	}
	return c.showSeal(report)
}

// sealReport asks for what a seal status does not tell, in the client's namespace.
func (c *call) sealReport(cl *client.Client, s *client.SealStatus) (*sealReport, error) {
	report := &sealReport{SealStatus: *s}
	if s.Warning == "" { // without its store a node knows of no other
		leader, err := cl.WithNamespace("").Sys().Leader(c.ctx)
		switch {
		case err == nil:
			report.HAEnabled, report.IsSelf, report.LeaderAddress = leader.HAEnabled, leader.IsSelf, leader.LeaderAddress
		case !s.Sealed && s.Initialized:
			return nil, failed(err, "asking for the leader")
		}
	}
	name := realNamespace(cl.Namespace())
	if name == "" || s.Sealed || s.Warning != "" || !c.remembers() { // programs that this one stands in for look at the server alone
		return report, nil
	}
	var err error
	report.Namespace = name + "/"
	report.NamespaceSealed, err = c.namespaceSealed(cl, name)
	return report, err
}

// namespaceSealed is nil where the token may not look.
func (c *call) namespaceSealed(cl *client.Client, name string) (*bool, error) {
	above, last := path.Split(name)
	s, err := cl.WithNamespace(cleanPath(above)).Read(c.ctx, client.JoinPath("sys/namespaces", last), nil)
	var api *client.Error
	switch sealed := true; {
	case err == nil && s != nil:
		sealed, told := s.Data["sealed"].(bool)
		if !told {
			return nil, nil
		}
		return &sealed, nil
	case errors.As(err, &api) && mentions(api.Messages, "is sealed"): // one above it
		return &sealed, nil
	case errors.Is(err, client.ErrForbidden):
		return nil, nil
	}
	return nil, notNamed(err, "reading", "namespace", name+"/")
}

// realNamespace is a namespace's path without slashes around it; empty for the root namespace, in each of its spellings.
func realNamespace(given string) string {
	if name := cleanPath(given); name != "root" {
		return name
	}
	return ""
}

func (c *call) showSeal(report *sealReport) error {
	fields, err := toMap(report)
	if err != nil {
		return err
	}
	return c.show(report, fields, func() error { return c.rows(c.sealRows(report)) })
}

func (c *call) sealRows(s *sealReport) [][]string {
	rows := [][]string{
		{"Seal Type", s.Type}, {"Initialized", fmt.Sprint(s.Initialized)}, {"Sealed", fmt.Sprint(s.Sealed)},
	}
	shares := "Total Shares"
	if s.RecoverySeal {
		shares = "Total Recovery Shares"
	}
	rows = append(rows, []string{shares, fmt.Sprint(s.Shares)}, []string{"Threshold", fmt.Sprint(s.Threshold)})
	if s.Sealed {
		rows = append(rows,
			[]string{"Unseal Progress", fmt.Sprintf("%d/%d", s.Progress, s.Threshold)},
			[]string{"Unseal Nonce", s.Nonce})
	}
	rows = append(rows, present("Key Slots", slotsText(s.KeySlots), "Warning", s.Warning, "Damaged Key Slots", strings.Join(s.DamagedKeySlots, ", "))...)
	if s.Migration {
		rows = append(rows, []string{"Seal Migration in Progress", "true"})
	}
	rows = append(rows, c.versionRows(s)...)
	rows = append(rows, present("Commit Date", s.CommitDate, "Build Date", s.BuildDate,
		"Storage Type", s.StorageType, "Cluster Name", s.ClusterName, "Cluster ID", s.ClusterID)...)
	if s.Warning == "" {
		rows = append(rows, []string{"HA Enabled", fmt.Sprint(s.HAEnabled)})
	}
	if s.LeasesHeld {
		rows = append(rows, []string{"Leases", "held since a restore: see operator snapshot resume"})
	}
	rows = append(rows, leaderRows(s)...)
	return append(rows, namespaceRows(s)...)
}

// versionRows tell the program's version and, by itself, that of the API, by which programs that this one stands in for
// know a server.
func (c *call) versionRows(s *sealReport) [][]string {
	if s.ProgramVersion == "" || !c.remembers() {
		return present("Version", s.Version)
	}
	return present("Version", s.ProgramVersion, "API Version", s.Version)
}

// slotsText tells of key slots where there are several, of which the shares above are one's.
func slotsText(slots []client.KeySlot) string {
	if len(slots) < 2 {
		return ""
	}
	var out []string
	for _, s := range slots {
		text := s.Kind
		if s.Threshold > 0 {
			text += fmt.Sprintf(" (%d of %d shares)", s.Threshold, s.Shares)
		}
		out = append(out, text)
	}
	return strings.Join(out, ", ")
}

func leaderRows(s *sealReport) [][]string {
	if !s.HAEnabled || s.Sealed {
		return nil
	}
	mode := "standby"
	if s.IsSelf {
		mode = "active"
	}
	return present("HA Mode", mode, "Active Node Address", s.LeaderAddress)
}

func namespaceRows(s *sealReport) [][]string {
	if s.Namespace == "" {
		return nil
	}
	sealed := "not known: the token may not read it"
	if s.NamespaceSealed != nil {
		sealed = fmt.Sprint(*s.NamespaceSealed)
	}
	return present("Namespace", s.Namespace, "Namespace Sealed", sealed)
}

// present makes rows of names and values, leaving empty values out.
func present(namesAndValues ...string) [][]string {
	var rows [][]string
	for i := 0; i+1 < len(namesAndValues); i += 2 {
		if namesAndValues[i+1] != "" {
			rows = append(rows, namesAndValues[i:i+2])
		}
	}
	return rows
}
