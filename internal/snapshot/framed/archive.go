package framed

import (
	"archive/tar"
	"bufio"
	"compress/flate"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
)

const (
	gzipMagic = "\x1f\x8b"
	partBytes = 1 << 20
	sumsName  = "SHA256SUMS.sealed" // clients of the Vault API look for it: it is the last
	// An archive is not compressed: what grows when it is read is no archive of ours.
	growthFree  = 1 << 20
	growthTimes = 2
)

func partName(n int) string { return fmt.Sprintf("strongroom.snapshot.%08d", n) }

// Archive puts a snapshot into the form that clients of the Vault API take for whole:
// tar in gzip, whose last file has a certain name. The snapshot lies in files of up to
// 1 MiB, since tar has each file's size before it.
type Archive struct {
	zip  *gzip.Writer
	tar  *tar.Writer
	part []byte
	n    int
	sum  hash.Hash
}

// NewArchive begins an archive on out.
func NewArchive(out io.Writer) (*Archive, error) {
	zip, err := gzip.NewWriterLevel(out, gzip.NoCompression)
	if err != nil {
		return nil, err
	}
	return &Archive{zip: zip, tar: tar.NewWriter(zip), sum: sha256.New(), part: make([]byte, 0, partBytes)}, nil
}

// Write takes a piece of the snapshot.
func (a *Archive) Write(p []byte) (int, error) {
	a.sum.Write(p)
	for rest := p; len(rest) > 0; {
		n := min(len(rest), partBytes-len(a.part))
		a.part, rest = append(a.part, rest[:n]...), rest[n:]
		if len(a.part) < partBytes {
			break
		}
		if err := a.flush(); err != nil {
			return len(p) - len(rest), err
		}
	}
	return len(p), nil
}

func (a *Archive) flush() error {
	err := a.file(partName(a.n), a.part)
	a.part = a.part[:0]
	a.n++
	return err
}

func (a *Archive) file(name string, content []byte) error {
	err := a.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o600, Size: int64(len(content))})
	if err != nil {
		return err
	}
	_, err = a.tar.Write(content)
	return err
}

// Close ends the archive of a snapshot that was written whole. One that was not is
// left without an end.
func (a *Archive) Close() error {
	if len(a.part) > 0 {
		if err := a.flush(); err != nil {
			return err
		}
	}
	if err := a.file(sumsName, sumsLine(a.sum)); err != nil {
		return err
	}
	return errors.Join(a.tar.Close(), a.zip.Close())
}

func sumsLine(sum hash.Hash) []byte {
	return []byte(hex.EncodeToString(sum.Sum(nil)) + "  strongroom.snapshot\n")
}

// archiveReader is the snapshot in an archive. It ends only where the archive does.
type archiveReader struct {
	in   *counted
	back *bufio.Reader
	zip  *gzip.Reader
	tar  *tar.Reader
	out  int64
	n    int // of the next part
	sum  hash.Hash
	done error
}

func newArchiveReader(in *bufio.Reader) (*archiveReader, error) {
	a := &archiveReader{in: &counted{r: in}, sum: sha256.New()}
	a.back = bufio.NewReader(a.in)
	zip, err := gzip.NewReader(a.back)
	if err != nil {
		return nil, fmt.Errorf("%w: its archive cannot be read", ErrDamaged)
	}
	zip.Multistream(false)
	a.zip = zip
	a.tar = tar.NewReader(bounded{a})
	return a, a.part()
}

// counted counts what is read.
type counted struct {
	r io.Reader
	n int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// bounded is the archive's inside, which may not be much larger than its outside.
type bounded struct{ a *archiveReader }

func (b bounded) Read(p []byte) (int, error) {
	n, err := b.a.zip.Read(p)
	b.a.out += int64(n)
	if b.a.out > growthFree+growthTimes*b.a.in.n {
		return 0, fmt.Errorf("%w: its archive is compressed, which none of ours is", ErrDamaged)
	}
	return n, err
}

// part goes to the next file: another part, or the last file and the end.
func (a *archiveReader) part() error {
	h, err := a.tar.Next()
	switch {
	case err != nil:
		return archived(err)
	case h.Typeflag == tar.TypeReg && h.Name == partName(a.n) && h.Size <= partBytes:
		a.n++
		return nil
	case a.n == 0:
		return fmt.Errorf("%w: it is an archive of something else", ErrForeign)
	case h.Typeflag != tar.TypeReg || h.Name != sumsName || h.Size != int64(len(sumsLine(a.sum))):
		return fmt.Errorf("%w: a file that does not belong into its archive", ErrDamaged)
	}
	return a.finish()
}

// finish reads the archive's last file and its end.
func (a *archiveReader) finish() error {
	line, err := io.ReadAll(a.tar)
	if err != nil {
		return archived(err)
	}
	if string(line) != string(sumsLine(a.sum)) {
		return fmt.Errorf("%w: the archive's sum does not match", ErrDamaged)
	}
	if _, err := a.tar.Next(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: a file too many in its archive", ErrDamaged)
	}
	if n, err := io.Copy(io.Discard, bounded{a}); n > 0 || err != nil {
		return fmt.Errorf("%w: its archive does not end well", ErrDamaged)
	}
	if _, err := a.back.ReadByte(); err == nil {
		return fmt.Errorf("%w: something follows the archive", ErrDamaged)
	}
	return io.EOF
}

// Read reads the snapshot across the parts.
func (a *archiveReader) Read(p []byte) (int, error) {
	for a.done == nil {
		n, err := a.tar.Read(p)
		a.sum.Write(p[:n])
		switch {
		case errors.Is(err, io.EOF):
			a.done = a.part()
		case err != nil:
			a.done = archived(err)
		}
		if n > 0 {
			return n, nil
		}
	}
	return 0, a.done
}

// archived words the failure of an archive. Its own errors say nothing that an
// operator could use; those of the connection or the disk do.
func archived(err error) error {
	var flated flate.CorruptInputError
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return ErrShort
	case errors.Is(err, tar.ErrHeader), errors.Is(err, gzip.ErrChecksum), errors.Is(err, gzip.ErrHeader), errors.As(err, &flated):
		return fmt.Errorf("%w: its archive cannot be read", ErrDamaged)
	}
	return err
}
