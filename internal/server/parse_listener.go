package server

import (
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/hcl/ast"

	"github.com/strongroom/strongroom/internal/spelling"
)

func (r *reader) readListener(b *block) {
	l := Listener{Address: DefaultAddress}
	switch b.label(0) {
	case "tcp":
	case "unix":
		l.Unix, l.Address = true, ""
	default:
		r.fault(b.ObjectItem, "listener %q: this version has tcp and unix", b.label(0))
	}
	for _, s := range b.settings {
		r.listenerSetting(&l, s)
	}
	problems := l.problems()
	for _, err := range problems {
		r.fault(b.ObjectItem, "%v", err)
	}
	r.config.Listeners = append(r.config.Listeners, l)
	if len(problems) == 0 {
		r.later(b, l.checkCertificates)
	}
}

// listenerSettings are the settings of a listener, for who mistypes one.
var listenerSettings = []string{"address", "tls_cert_file", "tls_key_file", "tls_client_ca_file", "tls_require_and_verify_client_cert",
	"tls_disable_client_certs", "tls_disable", "tls_min_version", "max_connections_per_client", "socket_mode", "socket_user", "socket_group",
	"proxy_protocol_behavior", "proxy_protocol_authorized_addrs", "x_forwarded_for_authorized_addrs", "x_forwarded_for_hop_skips",
	"x_forwarded_for_reject_not_authorized", "x_forwarded_for_reject_not_present", "custom_response_headers", "telemetry",
	"max_request_size", "max_request_json_memory", "max_request_json_strings", "max_request_duration", "http_read_header_timeout",
	"http_read_timeout", "http_write_timeout", "http_idle_timeout"}

func (r *reader) listenerSetting(l *Listener, s *ast.ObjectItem) {
	switch key := keyOf(s, 0); key {
	case "address":
		l.Address = r.text(s)
	case "max_connections_per_client":
		l.PerClient = r.count(s)
	case "custom_response_headers":
		r.blocks(s, 0, func(b *block) { r.responseHeaders(l, b) })
	case "telemetry":
		r.blocks(s, 0, func(b *block) { r.listenerTelemetry(l, b) })
	case "cluster_address":
		r.config.Ignored = append(r.config.Ignored, "listener "+key)
	default:
		if !r.tlsSetting(l, key, s) && !r.socketSetting(l, key, s) && !r.proxySetting(l, key, s) && !r.limitSetting(l, key, s) {
			r.fault(s, "listener: unknown setting %q%s; it takes %s", key, suggest(key, listenerSettings), strings.Join(listenerSettings, ", "))
		}
	}
}

func (r *reader) tlsSetting(l *Listener, key string, s *ast.ObjectItem) bool {
	switch key {
	case "tls_cert_file":
		l.CertFile = r.text(s)
	case "tls_key_file":
		l.KeyFile = r.text(s)
	case "tls_client_ca_file":
		l.ClientCA = r.text(s)
	case "tls_disable":
		l.Plain = r.flag(s)
	case "tls_require_and_verify_client_cert":
		l.RequireClient = r.flag(s)
	case "tls_disable_client_certs":
		l.NoClientCerts = r.flag(s)
	case "tls_min_version":
		if v := r.text(s); v != "tls13" && v != "" {
			r.fault(s, "tls_min_version: TLS is 1.3 only; write tls13, or leave this out")
		}
	default:
		return false
	}
	return true
}

func (r *reader) socketSetting(l *Listener, key string, s *ast.ObjectItem) bool {
	switch key {
	case "socket_user":
		l.SocketUser = r.text(s)
	case "socket_group":
		l.SocketGroup = r.text(s)
	case "socket_mode":
		text := r.text(s)
		mode, err := strconv.ParseUint(text, 8, 32)
		if err != nil || mode == 0 || mode > 0o777 {
			r.fault(s, "socket_mode: must be a mode in octal, in quotes, such as \"660\"")
			return true
		}
		l.SocketMode = os.FileMode(mode)
	default:
		return false
	}
	return true
}

func (r *reader) proxySetting(l *Listener, key string, s *ast.ObjectItem) bool {
	switch key {
	case "proxy_protocol_behavior":
		l.ProxyProtocol = r.text(s)
		if p := l.ProxyProtocol; p != "" && p != proxyAlways && p != proxyAllow && p != proxyDeny {
			r.fault(s, "proxy_protocol_behavior: must be %s, %s or %s", proxyAlways, proxyAllow, proxyDeny)
			l.ProxyProtocol = ""
		}
	case "proxy_protocol_authorized_addrs":
		var err error
		l.ProxyFrom, err = parsePrefixes(r.texts(s))
		r.checkSetting(s, err)
	case "x_forwarded_for_authorized_addrs":
		var err error
		l.Forwarded.From, err = parsePrefixes(r.texts(s))
		r.checkSetting(s, err)
	case "x_forwarded_for_hop_skips":
		n, err := strconv.Atoi(r.text(s))
		if err != nil || n < 0 {
			r.fault(s, "x_forwarded_for_hop_skips: must be a whole number of zero or more")
			n = 0
		}
		l.Forwarded.Hops = n
	case "x_forwarded_for_reject_not_authorized":
		l.Forwarded.AllowOthers = !r.flag(s)
	case "x_forwarded_for_reject_not_present":
		l.Forwarded.AllowMissing = !r.flag(s)
	default:
		return false
	}
	return true
}

func (r *reader) checkSetting(it *ast.ObjectItem, err error) {
	if err != nil {
		r.fault(it, "%s: %v", keyOf(it, 0), err)
	}
}

// responseHeaders reads "2xx" = { "Name" = ["value"] }.
func (r *reader) responseHeaders(l *Listener, b *block) {
	if l.Headers == nil {
		l.Headers = ResponseHeaders{}
	}
	for _, s := range b.settings {
		status := keyOf(s, 0)
		if err := checkStatus(status); err != nil {
			r.fault(s, "custom_response_headers: %q: %v", status, err)
			continue
		}
		obj, ok := s.Val.(*ast.ObjectType)
		if !ok {
			r.fault(s, "custom_response_headers: write it as %q = { \"Name\" = [\"value\"] }", status)
			continue
		}
		l.Headers[status] = r.headerValues(obj)
	}
}

func (r *reader) headerValues(obj *ast.ObjectType) http.Header {
	out := http.Header{}
	for _, it := range obj.List.Items {
		name, values := http.CanonicalHeaderKey(keyOf(it, 0)), r.texts(it)
		switch {
		case reserved(name):
			r.fault(it, "custom_response_headers: %s is the server's own; leave it out", name)
		case !headerName(name):
			r.fault(it, "custom_response_headers: %q is no name of a header", name)
		case strings.ContainsAny(strings.Join(values, ""), "\r\n\x00"):
			r.fault(it, "custom_response_headers: %s has a value of more than one line", name)
		default:
			out[name] = values
		}
	}
	return out
}

func (r *reader) listenerTelemetry(l *Listener, b *block) {
	for _, s := range b.settings {
		switch key := keyOf(s, 0); key {
		case "unauthenticated_metrics_access":
			l.OpenMetrics = r.flag(s)
		case "disallow_metrics":
			l.NoMetrics = r.flag(s)
		case "metrics_only":
			l.OnlyMetrics = r.flag(s)
		case "unauthenticated_pprof_access", "unauthenticated_in_flight_request_access":
			if r.flag(s) {
				r.fault(s, "telemetry: %s: this needs a token always; leave it out", key)
			}
		default:
			r.fault(s, "telemetry: unknown setting %q; it takes unauthenticated_metrics_access, disallow_metrics and metrics_only", key)
		}
	}
}

// texts is a list of texts; one text stands for what its commas part.
func (r *reader) texts(it *ast.ObjectItem) []string {
	list, ok := it.Val.(*ast.ListType)
	if !ok {
		text := r.text(it)
		if strings.HasPrefix(keyOf(it, 0), "x_") || strings.HasPrefix(keyOf(it, 0), "proxy_") {
			return strings.FieldsFunc(text, func(c rune) bool { return c == ',' || c == ' ' })
		}
		return []string{text}
	}
	var out []string
	for _, n := range list.List {
		lit, ok := n.(*ast.LiteralType)
		if !ok {
			r.fault(it, "%s: must be a list of texts", keyOf(it, 0))
			return nil
		}
		s, err := value(lit.Token.Value)
		if err != nil {
			r.fault(it, "%s: %v", keyOf(it, 0), err)
		}
		out = append(out, s)
	}
	return out
}

// topSettings are those of the top of a configuration, for who mistypes one.
var topSettings = []string{"storage", "listener", "seal", "audit", "telemetry", "user_lockout", "log_level", "log_format", "log_requests_level", "log_file", "pid_file", "cluster_name", "api_addr",
	"audit_directory", "audit_log_raw", "audit_namespace_directory", "audit_namespace_peers", "auth_namespace_peers", "raw_storage_endpoint", "policy_headers", "default_lease_ttl", "max_lease_ttl", "unused_entity_ttl"}

// suggest names the setting that was probably meant; empty when none is like it.
func suggest(key string, known []string) string {
	if meant := spelling.Meant(key, known); meant != "" {
		return " (did you mean " + meant + "?)"
	}
	return ""
}
