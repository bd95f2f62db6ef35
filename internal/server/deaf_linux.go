package server

import (
	"net"

	"golang.org/x/sys/unix"
)

// deafen lets a listener take no further connection, while those that clients have
// begun to make are still accepted. Closing it at once would reset connections that
// wait to be accepted, on which a request may have been sent; a client that
// hears nothing tries again and is then refused, with nothing sent.
//
// The kernel shows a socket's filter each TCP segment from its header on. This one
// drops those that open a connection: SYN without ACK, in the flags at byte 13
// (RFC 9293, section 3.1).
func deafen(l net.Listener) error {
	tcp, ok := l.(*net.TCPListener)
	if !ok {
		return nil
	}
	const flags, syn, synOrAck = 13, 0x02, 0x12
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: flags},
		{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: synOrAck},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: syn, Jt: 0, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0xffffffff},
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
		failed = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog)
	})
	if err == nil {
		err = failed
	}
	return err
}
