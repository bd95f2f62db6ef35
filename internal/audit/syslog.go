package audit

import (
	"bytes"
	"cmp"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// syslogForm is how entries become syslog messages: of RFC 5424 for a peer on
// the network, and of the older form that the C library writes for the daemon of
// the same machine, since that is what those read.
//
// An entry that is too long for a message is sent in several, in order, each
// beginning with "audit-part:N:I/K ": entry N, part I of K. What follows the
// space of all K is the entry.
type syslogForm struct {
	priority int // facility * 8 + severity
	tag      string
	host     string
	pid      string
	local    bool // the older form
	counted  bool // messages begin with their length (RFC 6587 section 3.4.1)
	packets  bool // each message is written on its own
	longest  int  // bytes of one message, without its length
	parted   uint64
	scratch  []byte // the header of the moment
}

const (
	severityInfo = 6 // RFC 5424 section 6.2.1
	// defaultMessage is what rsyslog and others take unless told otherwise, in bytes.
	defaultMessage = 8 << 10
	leastMessage   = 480 // that every receiver must take (RFC 5424 section 6.1)
	mostMessage    = 1 << 20
	mostPacket     = 65_000
	partRoom       = 64 // for "audit-part:..." and the header's variable parts
)

// facilities are RFC 5424's, by the names that syslog.conf uses.
func facilities() []string {
	return []string{"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
		"ntp", "security", "console", "solaris-cron", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"}
}

// syslog reads the options of a syslog daemon: of this machine unless an address
// is given.
func (o *options) syslog() (*socketOutput, error) {
	if err := o.known(append(peerOptions(), "facility", "tag", "framing", "max_message_size")...); err != nil {
		return nil, err
	}
	form, err := o.syslogForm()
	if err != nil {
		return nil, err
	}
	out := &socketOutput{now: o.env.Now, frame: form.frame}
	if out.timeout, err = o.timeout(); err != nil {
		return nil, err
	}
	address := o.given["address"]
	if network := o.given["socket_type"]; network == "unix" || network == "" && address == "" {
		paths := localLogs()
		if address != "" {
			paths = []string{address}
		}
		form.local, form.packets = true, true
		out.dial = dialUnix([]string{"unixgram", "unix"}, paths...)
		_, err = o.tls(false)
	} else {
		out.dial, network, err = o.dialer("tcp", "udp", "tls")
		form.packets = network == "udp"
	}
	out.frames.datagrams = form.packets
	if err == nil && form.packets && form.longest > mostPacket {
		return nil, invalid("max_message_size", "is more than a packet holds", "at most "+strconv.Itoa(mostPacket))
	}
	return out, err
}

func (o *options) syslogForm() (*syslogForm, error) {
	name := strings.ToLower(cmp.Or(o.given["facility"], "auth"))
	facility := slices.Index(facilities(), name)
	if facility < 0 {
		return nil, invalid("facility", "is not one of syslog's", "one of "+strings.Join(facilities(), ", "))
	}
	tag := cmp.Or(o.given["tag"], "strongroom")
	if !printable(tag, 32) || strings.ContainsAny(tag, ":[]") {
		return nil, invalid("tag", "must be at most 32 printable ASCII characters, without spaces, colons and brackets", "")
	}
	longest, err := o.size("max_message_size", leastMessage, mostMessage)
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil || !printable(host, 255) {
		host = "-"
	}
	f := &syslogForm{priority: facility*8 + severityInfo, tag: tag, host: host, pid: strconv.Itoa(os.Getpid()), longest: int(cmp.Or(longest, defaultMessage))}
	switch o.given["framing"] {
	case "", "octet-counting":
		f.counted = true
	case "newline":
	default:
		return nil, invalid("framing", "is not supported", "one of octet-counting, newline")
	}
	return f, nil
}

// printable reports whether a text has from one to most characters of RFC 5424's PRINTUSASCII.
func printable(s string, most int) bool {
	return s != "" && len(s) <= most && !strings.ContainsFunc(s, func(r rune) bool { return r < '!' || r > '~' })
}

// frame makes messages of lines.
func (s *syslogForm) frame(to *frames, lines []byte, now time.Time) {
	s.scratch = s.header(s.scratch[:0], now)
	room := s.longest - len(s.scratch)
	for line := range bytes.Lines(lines) {
		line = bytes.TrimSuffix(line, []byte{'\n'})
		if len(line) <= room {
			s.message(to, nil, line)
			continue
		}
		s.parts(to, line, max(room-partRoom, 64))
	}
}

// header is what every message begins with.
func (s *syslogForm) header(b []byte, now time.Time) []byte {
	b = append(b, '<')
	b = strconv.AppendInt(b, int64(s.priority), 10)
	if s.local {
		b = append(now.AppendFormat(append(b, '>'), time.Stamp), ' ')
		b = append(append(append(b, s.tag...), '['), s.pid...)
		return append(b, "]: "...)
	}
	b = now.UTC().AppendFormat(append(b, ">1 "...), "2006-01-02T15:04:05.000000Z")
	for _, field := range []string{s.host, s.tag, s.pid} {
		b = append(append(b, ' '), field...)
	}
	return append(b, " audit - "...)
}

// message appends one message.
func (s *syslogForm) message(to *frames, part, text []byte) {
	if s.counted && !s.packets {
		to.bytes = strconv.AppendInt(to.bytes, int64(len(s.scratch)+len(part)+len(text)), 10)
		to.bytes = append(to.bytes, ' ')
	}
	to.bytes = append(append(append(to.bytes, s.scratch...), part...), text...)
	if s.local || !s.counted && !s.packets {
		to.bytes = append(to.bytes, '\n') // the local daemon may listen on a stream
	}
	to.ends = append(to.ends, len(to.bytes))
}

// parts appends an entry in several messages, each with at most room bytes of it
// and cut between characters.
func (s *syslogForm) parts(to *frames, line []byte, room int) {
	s.parted++
	pieces := cutText(line, room)
	for i, piece := range pieces {
		part := append(strconv.AppendUint([]byte("audit-part:"), s.parted, 10), ':')
		part = append(strconv.AppendInt(part, int64(i+1), 10), '/')
		part = append(strconv.AppendInt(part, int64(len(pieces)), 10), ' ')
		s.message(to, part, piece)
	}
}

// cutText cuts a text into pieces of at most room bytes, between characters.
func cutText(text []byte, room int) [][]byte {
	var out [][]byte
	for len(text) > room {
		n := room
		for n > room-utf8.UTFMax && !utf8.RuneStart(text[n]) {
			n--
		}
		out, text = append(out, text[:n]), text[n:]
	}
	return append(out, text)
}
