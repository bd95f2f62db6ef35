// Package chaos takes the real server's process or disk away under load and checks that nothing it acknowledged is lost and
// nothing torn is served.
//
// The kill test ends the server with SIGKILL, which keeps what the operating system holds. The power-cut test runs the server
// on an ext4 file system of its own in a loop file and shuts that file system down without flushing its journal, which loses
// all that was not synced; a control build that never syncs must lose acknowledged writes there, or the test would notice
// nothing.
//
// A fleet is three of the real server's processes on one store: on PostgreSQL, on etcd members within them, or on an etcd by
// itself. TestFleet has clients on all nodes while nodes, stores and networks fail, and checks each register's history with
// porcupine; it looks for what was taken away, races for what can be used once, and turns every key over under load. TestDamage
// changes rows behind the nodes' backs, of secrets, logins, quotas, second factors, leases and the OpenID provider. TestOutage cuts the power of a fleet's store.
//
// Each has a control: a history with a stale read, a store whose syncs do nothing, and the fleets of TestBrokenFleet and
// TestBrokenCeremonies, whose nodes are this test's own program with a store that breaks a promise. The same check is made on
// those and has to say what is wrong.
//
// TestUpgrade replaces the nodes by those of another build. TestPartition cuts nodes off from each other and from the store, in network namespaces of their own. TestFull fills the disk beneath a fleet. TestClocks and TestJumps set the clocks of nodes, in this process and of their own.
//
// -kills and -cuts, -fills and -schedules, and -rounds, -revocations, -trials, -pauses, -ceremony and -damages, lengthen the tests; each prints the seed it ran with, and -seed runs it again.
package chaos
