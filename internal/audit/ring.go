package audit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"syscall"
)

// ring is a bounded queue of batches in one file whose space is reserved when it
// is made, so that a disk that fills does not touch it. Positions count the bytes
// that were ever put in; the byte at position p is at p modulo the size. A batch
// is there once put has returned, whatever happens to the machine.
//
// The file begins with two copies of the header, written in turn: magic, turn,
// size, tail, checksum. A record is its length, checksum and position, and then
// the batch. What is in the queue is what begins at the tail and goes on record
// by record; a record that was cut short has a wrong checksum, and one of an
// earlier round a wrong position.
type ring struct {
	file *os.File
	size uint64 // bytes of records
	turn uint64 // of the header written last
	tail uint64 // where what must be kept begins, as the file says
	head uint64 // where the next record goes
	buf  []byte
}

const (
	ringMagic    = "srspool1"
	ringStart    = 4096 // where records begin: behind the headers
	ringSlot     = 2048 // bytes from one header to the other
	headerBytes  = 36
	recordHeader = 16
	leastSpool   = 1 << 20 // bytes
	defaultSpool = 64 << 20
	mostSpool    = 1 << 40
)

var (
	errSpoolFull    = errors.New("its spool is full")
	errSpoolTaken   = errors.New("its spool is in use by another device or server")
	errSpoolGone    = errors.New("its spool was deleted or moved away, and cannot be begun anew")
	errSpoolDamaged = errors.New("its spool is damaged: move the file away, and what it holds is lost")
)

// castagnoli is the polynomial with hardware support (RFC 3720 section 12.1).
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// openRing opens the queue below dir, or makes it with room for size bytes.
func openRing(dir, name string, size int64) (r *ring, err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	f, err := createRing(root, name, 0)
	if err != nil {
		return nil, err
	}
	r = &ring{file: f}
	if err := r.adopt(root, name, uint64(size)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return r, nil
}

// createRing opens a queue's file, and makes it and its directories where they are
// not there. flags are further ones of opening.
func createRing(root *os.Root, name string, flags int) (*os.File, error) {
	if d := filepath.Dir(name); d != "." {
		if err := root.MkdirAll(d, 0o700); err != nil {
			return nil, err
		}
	}
	return root.OpenFile(name, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK|flags, defaultMode)
}

// adopt takes an opened file, which is nobody else's, and finds what it holds.
func (r *ring) adopt(root *os.Root, name string, size uint64) error {
	info, err := r.file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errNotRegular
	}
	if err := syscall.Flock(int(r.file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return errors.Join(errSpoolTaken, err)
	}
	found, err := r.load(info.Size())
	if err != nil {
		return err
	}
	if found {
		if err := r.recover(); err != nil {
			return err
		}
	}
	if found && (r.size == size || r.head != r.tail) {
		return nil
	}
	if err := r.make(root, name, size); err != nil { // there is nothing in it, and its space is others'
		return errors.Join(err, root.Remove(name))
	}
	return nil
}

// load reads the newer header. found: there is one; a file without is not yet a
// queue, and must be empty for it.
func (r *ring) load(length int64) (found bool, err error) {
	page := make([]byte, ringStart)
	n, err := r.file.ReadAt(page[:min(length, ringStart)], 0)
	if err != nil && n == 0 && length > 0 {
		return false, err
	}
	for slot := range 2 {
		found = r.parse(page[slot*ringSlot:]) || found
	}
	if found {
		if int64(ringStart+r.size) > length {
			return false, errSpoolDamaged
		}
		return true, nil
	}
	for _, b := range page {
		if b != 0 {
			return false, errSpoolDamaged
		}
	}
	return false, nil
}

// parse reads a header if it is a whole one, and newer than what was read.
func (r *ring) parse(b []byte) bool {
	if string(b[:8]) != ringMagic || binary.LittleEndian.Uint32(b[32:]) != crc32.Checksum(b[:32], castagnoli) {
		return false
	}
	turn, size := binary.LittleEndian.Uint64(b[8:]), binary.LittleEndian.Uint64(b[16:])
	if size < recordHeader || size > mostSpool {
		return false
	}
	if turn > r.turn {
		r.turn, r.size, r.tail = turn, size, binary.LittleEndian.Uint64(b[24:])
	}
	return true
}

// recover finds the head, behind the last whole record.
func (r *ring) recover() error {
	for r.head = r.tail; ; {
		_, next, err := r.get(r.head)
		switch {
		case errors.Is(err, errNoRecord):
			return nil
		case err != nil:
			return err
		case next-r.tail > r.size:
			return nil
		}
		r.head = next
	}
}

// make gives an empty queue its space and its header, in this order.
func (r *ring) make(root *os.Root, name string, size uint64) error {
	if err := r.file.Truncate(0); err != nil {
		return err
	}
	if err := reserve(r.file, ringStart+int64(size)); err != nil {
		return fmt.Errorf("reserving space for the spool: %w", err)
	}
	if err := r.file.Sync(); err != nil {
		return err
	}
	r.size, r.head = size, r.tail
	if err := r.release(r.tail); err != nil {
		return err
	}
	return syncDir(root, filepath.Dir(name))
}

// zero writes zeros, where a file system cannot reserve space otherwise.
func zero(f *os.File, size int64) error {
	zeros := make([]byte, 1<<20)
	for at := int64(0); at < size; at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-at)], at); err != nil {
			return err
		}
	}
	return nil
}

// release says that what is before tail need not be kept.
func (r *ring) release(tail uint64) error {
	b := make([]byte, 0, headerBytes)
	b = append(b, ringMagic...)
	b = binary.LittleEndian.AppendUint64(b, r.turn+1)
	b = binary.LittleEndian.AppendUint64(b, r.size)
	b = binary.LittleEndian.AppendUint64(b, tail)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	if _, err := r.file.WriteAt(b, int64((r.turn+1)%2)*ringSlot); err != nil {
		return err
	}
	// The space is used again only once the header that frees it is on disk.
	if err := r.file.Sync(); err != nil {
		return err
	}
	r.turn, r.tail = r.turn+1, tail
	return nil
}

// put appends a batch and has it on disk.
func (r *ring) put(lines []byte) error {
	need := uint64(recordHeader + len(lines))
	if r.head+need-r.tail > r.size {
		return errSpoolFull
	}
	if uint64(cap(r.buf)) < need || cap(r.buf) > maxSpare {
		r.buf = make([]byte, 0, need)
	}
	b := binary.LittleEndian.AppendUint32(r.buf[:0], uint32(len(lines)))
	b = binary.LittleEndian.AppendUint32(b, 0)
	b = append(binary.LittleEndian.AppendUint64(b, r.head), lines...)
	binary.LittleEndian.PutUint32(b[4:], recordSum(b))
	r.buf = b
	if err := r.writeAt(b, r.head); err != nil {
		return err
	}
	if err := r.file.Sync(); err != nil {
		return err
	}
	r.head += need
	return nil
}

// recordSum is the checksum of a record: of all of it but the checksum.
func recordSum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:4], castagnoli), castagnoli, b[8:])
}

var errNoRecord = errors.New("no record")

// get reads the batch at a position, and says where the next one is.
// errNoRecord: there is none.
func (r *ring) get(at uint64) (lines []byte, next uint64, err error) {
	var header [recordHeader]byte
	if err := r.readAt(header[:], at); err != nil {
		return nil, 0, err
	}
	n := uint64(binary.LittleEndian.Uint32(header[:]))
	if binary.LittleEndian.Uint64(header[8:]) != at || n+recordHeader > r.size {
		return nil, 0, errNoRecord
	}
	b := make([]byte, recordHeader+n)
	if err := r.readAt(b, at); err != nil {
		return nil, 0, err
	}
	if binary.LittleEndian.Uint32(b[4:]) != recordSum(b) {
		return nil, 0, errNoRecord
	}
	return b[recordHeader:], at + recordHeader + n, nil
}

// around calls fn for the one or two stretches of the file that hold b.
func (r *ring) around(b []byte, at uint64, fn func(b []byte, offset int64) (int, error)) error {
	offset := at % r.size
	first := min(uint64(len(b)), r.size-offset)
	if _, err := fn(b[:first], int64(ringStart+offset)); err != nil {
		return err
	}
	if first == uint64(len(b)) {
		return nil
	}
	_, err := fn(b[first:], ringStart)
	return err
}

func (r *ring) writeAt(b []byte, at uint64) error { return r.around(b, at, r.file.WriteAt) }
func (r *ring) readAt(b []byte, at uint64) error  { return r.around(b, at, r.file.ReadAt) }

// held is how many bytes are kept from a position on.
func (r *ring) held(from uint64) uint64 { return r.head - from }
