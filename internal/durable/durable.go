// Package durable keeps small files that must be whole after a power cut.
//
// A [File] is replaced, never changed: the new content is written beside it,
// synced, renamed into place, and the folder is synced. The generation before
// stays, so that one damaged file is not the end. What is read back is proven
// by a checksum; what fails the proof is set aside under the name *.corrupt and
// never deleted.
//
// [Slots] keep the same promise for a payload of less than a block that changes
// often, at a fraction of the cost.
//
// The format of a File is a header of 52 bytes and the payload: 8 bytes of magic
// that name the kind of file, the format's version (4 bytes, big-endian), the
// length of the payload (8 bytes, big-endian) and its SHA-256.
package durable

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A Magic names a kind of file in its first bytes.
type Magic [8]byte

const (
	headerSize = 8 + 4 + 8 + sha256.Size
	previous   = ".1"       // suffix of the older generation
	temporary  = ".tmp"     // suffix of a file being written
	corrupt    = ".corrupt" // suffix of a file that failed its proof
)

// ErrCorrupt reports a file whose content is not what was written.
var ErrCorrupt = errors.New("corrupt file")

// A File is a payload on disk in two generations. One writer at a time.
type File struct {
	Path    string
	Magic   Magic
	Version uint32
}

// Write replaces the payload. When it returns nil, the new payload survives
// power loss; when it fails, the old one does.
func (f File) Write(payload []byte) error {
	dir := filepath.Dir(f.Path)
	if err := writeSynced(f.Path+temporary, f.encode(payload)); err != nil {
		return err
	}
	if err := os.Rename(f.Path, f.Path+previous); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(f.Path+temporary, f.Path); err != nil {
		return err
	}
	return syncDir(dir)
}

// Read returns the newest payload that proves whole, and how many damaged
// generations it had to set aside on the way. Without any it returns
// [fs.ErrNotExist], or [ErrCorrupt] if there was one and it is damaged.
func (f File) Read() (payload []byte, damaged int, err error) {
	var broken error
	for _, path := range []string{f.Path, f.Path + previous} {
		payload, err := f.readOne(path)
		switch {
		case err == nil:
			return payload, damaged, nil
		case errors.Is(err, fs.ErrNotExist):
		case errors.Is(err, ErrCorrupt):
			damaged++
			broken = errors.Join(broken, err, os.Rename(path, path+corrupt))
		default:
			return nil, damaged, err
		}
	}
	if broken != nil {
		return nil, damaged, broken
	}
	return nil, 0, &fs.PathError{Op: "open", Path: f.Path, Err: fs.ErrNotExist}
}

func (f File) readOne(path string) ([]byte, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	payload, err := f.decode(content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return payload, nil
}

func (f File) encode(payload []byte) []byte {
	sum := sha256.Sum256(payload)
	out := make([]byte, 0, headerSize+len(payload))
	out = append(out, f.Magic[:]...)
	out = binary.BigEndian.AppendUint32(out, f.Version)
	out = binary.BigEndian.AppendUint64(out, uint64(len(payload)))
	out = append(out, sum[:]...)
	return append(out, payload...)
}

func (f File) decode(content []byte) ([]byte, error) {
	if len(content) < headerSize {
		return nil, fmt.Errorf("%w: %d bytes", ErrCorrupt, len(content))
	}
	payload := content[headerSize:]
	sum := sha256.Sum256(payload)
	switch {
	case !bytes.Equal(content[:8], f.Magic[:]):
		return nil, fmt.Errorf("%w: not a %q file", ErrCorrupt, f.Magic[:])
	case binary.BigEndian.Uint32(content[8:]) != f.Version:
		return nil, fmt.Errorf("%w: version %d, want %d", ErrCorrupt, binary.BigEndian.Uint32(content[8:]), f.Version)
	case binary.BigEndian.Uint64(content[12:]) != uint64(len(payload)):
		return nil, fmt.Errorf("%w: %d bytes of payload, want %d", ErrCorrupt, len(payload), binary.BigEndian.Uint64(content[12:]))
	case !bytes.Equal(content[20:headerSize], sum[:]):
		return nil, fmt.Errorf("%w: checksum differs", ErrCorrupt)
	}
	return payload, nil
}

func writeSynced(path string, content []byte) (err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err = file.Write(content); err != nil {
		return err
	}
	return file.Sync()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
