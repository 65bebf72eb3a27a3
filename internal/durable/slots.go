package durable

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

const (
	slotSize       = 4096 // the block that file systems and disks write at once
	slotHeaderSize = 8 + 4 + 8 + 8 + sha256.Size

	// MaxSlotPayload is how many bytes a [Slots] can hold.
	MaxSlotPayload = slotSize - slotHeaderSize
)

// ErrTooLarge reports a payload of more than [MaxSlotPayload] bytes.
var ErrTooLarge = errors.New("payload too large for its slot")

// Slots are a small payload on disk that changes often, in two generations. It
// promises what a [File] promises, and a write costs one sync of one block
// instead of two syncs and two renames. One writer at a time.
//
// The file has two slots of one block each, written in turn: generation g lies
// in slot g modulo 2. A write that is cut short can harm only the slot of the
// older generation. The file has its full size from the start, so that a write
// in place changes nothing but data.
//
// A slot is a header of 60 bytes, the payload, and zeros: 8 bytes of magic, the
// format's version (4 bytes), the generation (8 bytes), the length of the
// payload (8 bytes), all big-endian, and the SHA-256 of the rest of the slot.
//
// A file that a [File] of the same magic and version has written is read as the
// generation before the first.
type Slots struct {
	Path    string
	Magic   Magic
	Version uint32

	generation uint64 // of the newest payload, once the file is known
	known      bool   // whether all of the file is on the disk as we think it is
}

// Write replaces the older payload. When it returns nil, the new payload
// survives power loss; when it fails, the new or the one before it does.
//
// The first write makes the file anew, as [File.Write] does, and so does one
// that could not be done in place: after a failed sync the system shows content
// that the disk may not have, and nothing but writing all of it elsewhere tells.
func (s *Slots) Write(payload []byte) error {
	if len(payload) > MaxSlotPayload {
		return fmt.Errorf("%w: %d bytes, at most %d", ErrTooLarge, len(payload), MaxSlotPayload)
	}
	var inPlace error
	if s.known {
		if inPlace = s.overwrite(payload); inPlace == nil {
			return nil
		}
	}
	if err := s.replace(payload); err != nil {
		return errors.Join(inPlace, err)
	}
	return nil
}

// overwrite puts the payload into the slot of the older generation.
func (s *Slots) overwrite(payload []byte) (err error) {
	s.known = false
	file, err := os.OpenFile(s.Path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	next := s.generation + 1
	_, err = file.WriteAt(s.encode(next, payload), slotOffset(next))
	if err == nil {
		err = syncData(file)
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	s.generation, s.known = next, true
	return nil
}

// replace makes the file anew, of the newest payload there is and the new one.
// Both slots always hold something: what does not prove is damage. So if there is
// no payload to keep, or none that can be read, the new one is in both.
func (s *Slots) replace(payload []byte) error {
	generation, before, _, err := s.newest()
	if err != nil {
		before = payload
	}
	next := generation + 1
	content := make([]byte, 2*slotSize)
	copy(content[slotOffset(generation):], s.encode(generation, before))
	copy(content[slotOffset(next):], s.encode(next, payload))
	if err := writeSynced(s.Path+temporary, content); err != nil {
		return err
	}
	if err := os.Rename(s.Path+temporary, s.Path); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(s.Path)); err != nil {
		return err
	}
	s.generation, s.known = next, true
	return nil
}

// Read returns the newest payload that proves whole, and how many damaged slots
// there are. A copy of a damaged file is set aside. Without any payload it
// returns [fs.ErrNotExist], or [ErrCorrupt] if there was one and it is damaged.
func (s *Slots) Read() (payload []byte, damaged int, err error) {
	_, payload, damaged, err = s.newest()
	return payload, damaged, err
}

func (s *Slots) newest() (generation uint64, payload []byte, damaged int, err error) {
	file, err := os.Open(s.Path)
	if err != nil {
		return 0, nil, 0, err
	}
	defer func() { _ = file.Close() }() // it was only read
	content := make([]byte, 2*slotSize)
	size := 0
	var broken error
	for slot := range uint64(2) {
		// One by one: a block that the disk cannot read must not hide the other.
		at := int(slotOffset(slot))
		n, err := file.ReadAt(content[at:at+slotSize], int64(at))
		if n > 0 {
			size = at + n
		}
		var g uint64
		var p []byte
		if err == nil || errors.Is(err, io.EOF) {
			g, p, err = s.decode(content[at : at+n])
		}
		if err == nil && g%2 != slot {
			err = fmt.Errorf("%w: generation %d is in the wrong place", ErrCorrupt, g)
		}
		switch {
		case err != nil:
			damaged++
			broken = errors.Join(broken, fmt.Errorf("%s: slot %d: %w", s.Path, slot, err))
		case payload == nil || g > generation:
			generation, payload = g, p
		}
	}
	if damaged == 0 {
		return generation, payload, 0, nil
	}
	if payload == nil {
		old := File{Path: s.Path, Magic: s.Magic, Version: s.Version}
		if p, err := old.decode(content[:size]); err == nil && len(p) <= MaxSlotPayload {
			return 0, p, 0, nil
		}
	}
	aside := os.WriteFile(s.Path+corrupt, content[:size], 0o600)
	if payload == nil {
		return 0, nil, damaged, errors.Join(broken, aside)
	}
	return generation, payload, damaged, nil
}

func slotOffset(generation uint64) int64 { return int64(generation%2) * slotSize }

func (s *Slots) encode(generation uint64, payload []byte) []byte {
	slot := make([]byte, slotSize)
	copy(slot, s.Magic[:])
	binary.BigEndian.PutUint32(slot[8:], s.Version)
	binary.BigEndian.PutUint64(slot[12:], generation)
	binary.BigEndian.PutUint64(slot[20:], uint64(len(payload)))
	copy(slot[slotHeaderSize:], payload)
	sum := slotSum(slot)
	copy(slot[28:], sum[:])
	return slot
}

func (s *Slots) decode(slot []byte) (generation uint64, payload []byte, err error) {
	if len(slot) != slotSize {
		return 0, nil, fmt.Errorf("%w: %d bytes", ErrCorrupt, len(slot))
	}
	sum := slotSum(slot)
	size := binary.BigEndian.Uint64(slot[20:])
	switch {
	case !bytes.Equal(slot[:8], s.Magic[:]):
		return 0, nil, fmt.Errorf("%w: not a %q file", ErrCorrupt, s.Magic[:])
	case binary.BigEndian.Uint32(slot[8:]) != s.Version:
		return 0, nil, fmt.Errorf("%w: version %d, want %d", ErrCorrupt, binary.BigEndian.Uint32(slot[8:]), s.Version)
	case !bytes.Equal(slot[28:slotHeaderSize], sum[:]):
		return 0, nil, fmt.Errorf("%w: checksum differs", ErrCorrupt)
	case size > MaxSlotPayload:
		return 0, nil, fmt.Errorf("%w: %d bytes of payload, at most %d", ErrCorrupt, size, MaxSlotPayload)
	}
	return binary.BigEndian.Uint64(slot[12:]), slot[slotHeaderSize : slotHeaderSize+size], nil
}

// slotSum is over all of a slot but the sum itself.
func slotSum(slot []byte) [sha256.Size]byte {
	proven := make([]byte, 0, slotSize-sha256.Size)
	proven = append(proven, slot[:28]...)
	return sha256.Sum256(append(proven, slot[slotHeaderSize:]...))
}
