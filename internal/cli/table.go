package cli

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/strongroom/strongroom/client"
)

// table lines columns up under an underlined header, four spaces apart. An empty
// cell shows as "n/a".
func table(header []string, rows [][]string) string {
	rule := make([]string, len(header))
	for i, h := range header {
		rule[i] = strings.Repeat("-", len(h))
	}
	return columns(append([][]string{header, rule}, rows...))
}

func columns(lines [][]string) string {
	var widths []int
	for _, line := range lines {
		for i, cell := range line {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(orNone(cell)))
		}
	}
	var b strings.Builder
	for n, line := range lines {
		if n > 0 {
			b.WriteByte('\n')
		}
		for i, cell := range line {
			cell = orNone(cell)
			b.WriteString(cell)
			if i < len(line)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+4))
			}
		}
	}
	return b.String()
}

func orNone(cell string) string {
	if cell == "" {
		return "n/a"
	}
	return cell
}

// heading is a title between equal signs, as wide as what follows it.
func heading(title string, width int) string {
	signs := width - len(title) - 2
	if signs <= 0 {
		signs = 4
	}
	side := strings.Repeat("=", (signs+1)/2)
	return side + " " + title + " " + side
}

// plain prints a value of an answer as people read it.
func plain(v any) string {
	switch v := v.(type) {
	case nil:
		return "<nil>"
	case string:
		return v
	case []string:
		return fmt.Sprintf("%q", v)
	case map[string]any, map[string]string:
		return nested(v)
	case []any:
		if slices.ContainsFunc(v, func(e any) bool { _, ok := e.(map[string]any); return ok }) {
			return nested(v)
		}
	}
	return fmt.Sprint(v)
}

// nested is JSON on one line.
func nested(v any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Sprint(v)
	}
	return strings.TrimSpace(b.String())
}

// bare prints a value of an answer as scripts read it.
func bare(v any) string {
	if list, ok := v.([]string); ok {
		return fmt.Sprint(list)
	}
	return plain(v)
}

func mapRows(m map[string]any) [][]string {
	rows := make([][]string, 0, len(m))
	for _, k := range sortedKeys(m) {
		rows = append(rows, []string{k, plain(showDuration(k, m[k]))})
	}
	return rows
}

// secretRows lays an envelope out: lease, token, wrapping, then data.
func secretRows(s *client.Secret) [][]string {
	if s == nil {
		return nil
	}
	rows := leaseRows(s)
	if need := requirementOf(s); need != nil {
		rows = append(rows, requirementRows(need)...)
	} else if s.Auth != nil {
		rows = append(rows, authRows(s.Auth)...)
	}
	if s.WrapInfo != nil {
		rows = append(rows, wrapRows(s.WrapInfo)...)
	}
	return append(rows, mapRows(s.Data)...)
}

// leaseRows calls a duration without a lease what it is: advice on when to read
// again.
func leaseRows(s *client.Secret) [][]string {
	duration := humanSeconds(int64(s.LeaseDuration))
	switch {
	case s.LeaseDuration == 0:
		return nil
	case s.LeaseID == "":
		return [][]string{{"refresh_interval", duration}}
	}
	return [][]string{
		{"lease_id", s.LeaseID}, {"lease_duration", duration}, {"lease_renewable", fmt.Sprint(s.Renewable)},
	}
}

func authRows(a *client.Auth) [][]string {
	duration := "∞"
	if a.LeaseDuration > 0 {
		duration = humanSeconds(int64(a.LeaseDuration))
	}
	rows := [][]string{
		{"token", a.ClientToken},
		{"token_accessor", a.Accessor},
		{"token_duration", duration},
		{"token_renewable", fmt.Sprint(a.Renewable)},
		{"token_policies", fmt.Sprintf("%q", a.TokenPolicies)},
		{"identity_policies", fmt.Sprintf("%q", a.IdentityPolicies)},
		{"policies", fmt.Sprintf("%q", a.Policies)},
	}
	for _, k := range sortedKeys(a.Metadata) {
		rows = append(rows, []string{"token_meta_" + k, a.Metadata[k]})
	}
	return rows
}

func wrapRows(w *client.WrapInfo) [][]string {
	rows := [][]string{
		{"wrapping_token:", w.Token},
		{"wrapping_accessor:", w.Accessor},
		{"wrapping_token_ttl:", humanSeconds(int64(w.TTL))},
		{"wrapping_token_creation_time:", w.CreationTime.Format(time.RFC3339Nano)},
		{"wrapping_token_creation_path:", w.CreationPath},
	}
	if w.WrappedAccessor != "" {
		rows = append(rows, []string{"wrapped_accessor:", w.WrappedAccessor})
	}
	return rows
}

// secretFields is what -field can name in an envelope: its data, and the parts of
// the lease, the token and the wrapping under the names the table gives them.
func secretFields(s *client.Secret) map[string]any {
	if s == nil {
		return nil
	}
	fields := map[string]any{}
	if s.Data != nil {
		fields["data"] = s.Data
	}
	for name, v := range map[string]any{
		"lease_id": s.LeaseID, "lease_duration": json.Number(fmt.Sprint(s.LeaseDuration)),
		"lease_renewable": s.Renewable, "request_id": s.RequestID,
		"refresh_interval": json.Number(fmt.Sprint(s.LeaseDuration)),
	} {
		fields[name] = v
	}
	if need := requirementOf(s); need != nil {
		for _, row := range requirementRows(need) {
			fields[row[0]] = row[1]
		}
	} else if s.Auth != nil {
		addAuthFields(fields, s.Auth)
	}
	if s.WrapInfo != nil {
		for _, row := range wrapRows(s.WrapInfo) {
			fields[strings.TrimSuffix(row[0], ":")] = row[1]
		}
		fields["wrapping_token_ttl"] = json.Number(fmt.Sprint(s.WrapInfo.TTL))
	}
	for k, v := range s.Data {
		fields[k] = v
	}
	return fields
}

func addAuthFields(fields map[string]any, a *client.Auth) {
	for name, v := range map[string]any{
		"token": a.ClientToken, "token_accessor": a.Accessor, "token_renewable": a.Renewable,
		"token_duration": json.Number(fmt.Sprint(a.LeaseDuration)), "token_policies": a.TokenPolicies,
		"identity_policies": a.IdentityPolicies, "policies": a.Policies,
	} {
		fields[name] = v
	}
	for k, v := range a.Metadata {
		fields["token_meta_"+k] = v
	}
}
