package pebble

import (
	"log/slog"

	crdb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// Options configures a Store. The zero value is usable.
type Options struct {
	// FS is the filesystem; nil: the operating system's.
	FS vfs.FS
	// Logger receives what the engine has to say about itself. It never sees a
	// value. nil: nothing is said.
	Logger *slog.Logger
	// CacheBytes bounds the cache of blocks read from disk; 0: 32 MiB. It fills
	// only as blocks are read.
	CacheBytes int64
	// MemTableBytes is how much is gathered in memory before it is written as a
	// table; 0: 8 MiB. Up to three times as much may be held for a moment.
	MemTableBytes int
	// ReserveBytes is how much of the disk must stay free: with less, commits are
	// refused before the engine meets the end of the disk, which it survives only
	// by stopping. 0: 64 MiB; below 0: nothing. Of a small disk it is an eighth at most.
	ReserveBytes int64
	// KeepCommits is how many commits Watch can go back at least; 0: 100,000.
	KeepCommits int

	// noSync leaves the disk to itself. It loses acknowledged writes, and serves
	// only to show that the tests would notice.
	noSync bool
}

const (
	defaultCacheBytes    = 32 << 20
	defaultMemTableBytes = 8 << 20
	defaultReserveBytes  = 64 << 20
	defaultKeepCommits   = 100_000
	walSteps             = 16  // steps in which a write-ahead log is lengthened while a MemTable fills
	openTables           = 500 // table files kept open
	bloomBitsPerKey      = 10  // one false positive in a hundred look-ups of absent keys
)

func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = defaultCacheBytes
	}
	if o.MemTableBytes == 0 {
		o.MemTableBytes = defaultMemTableBytes
	}
	if o.ReserveBytes == 0 {
		o.ReserveBytes = defaultReserveBytes
	}
	if o.KeepCommits == 0 {
		o.KeepCommits = defaultKeepCommits
	}
	return o
}

// engineOptions are Pebble's own. The format version is pinned: a newer library
// must not write by itself what an older server cannot read. The version has
// sync offsets in the log, so damage to it is told from its ordinary end.
func (o Options) engineOptions(log *engineLog) *crdb.Options {
	out := &crdb.Options{
		CacheSize:                   o.CacheBytes,
		MemTableSize:                uint64(o.MemTableBytes),
		MemTableStopWritesThreshold: 3,
		FormatMajorVersion:          crdb.FormatValueSeparation,
		Logger:                      log,
		EventListener:               log.events(),
		DisableWAL:                  neverLog,
	}
	// Values are ciphertext: compressing them costs time and wins nothing.
	out.ApplyCompressionSettings(func() crdb.DBCompressionSettings { return crdb.DBCompressionNone })
	for i := range out.Levels {
		out.Levels[i].FilterPolicy = bloom.FilterPolicy(bloomBitsPerKey)
		out.Levels[i].FilterType = crdb.TableFilter
	}
	return out
}
