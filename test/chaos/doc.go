// Package chaos takes the real server's process or disk away under load and checks that nothing it acknowledged is lost and
// nothing torn is served.
//
// The kill test ends the server with SIGKILL, which keeps what the operating system holds. The power-cut test runs the server
// on an ext4 file system of its own in a loop file and shuts that file system down without flushing its journal, which loses
// all that was not synced; a control build that never syncs must lose acknowledged writes there, or the test would notice
// nothing.
//
// -kills and -cuts lengthen the tests; each prints the seed it ran with, and -seed runs it again.
package chaos
