package events

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sluice-flags/sluice/pkg/flags"
)

// What can be wrong with a log. A reader that meets one of them keeps its last
// good state, says so, and repairs; it never applies what it was given.
var (
	// ErrGap: an envelope is missing between the last one and this one.
	ErrGap = errors.New("gap in the log")
	// ErrFork: this envelope continues another history.
	ErrFork = errors.New("fork in the log")
	// ErrEpoch: this is another log, made in the place of the one known so far.
	ErrEpoch = errors.New("another log")
	// ErrCorrupt: the bytes are not what was written.
	ErrCorrupt = errors.New("corrupt message")
	// ErrSchema: written by a newer version of the software.
	ErrSchema = errors.New("unknown envelope schema")
)

// Seal completes e as the successor of prev: schema, log id, sequence, previous
// hash and its own hash. The time becomes the first millisecond that is neither
// before e.Time nor at or before prev's.
//
// Raw JSON within e is compacted, so that it comes back from the log as it is
// here. Seal fails only if some of it is not JSON.
func Seal(prev Head, e Envelope) (Envelope, error) {
	e.Schema = Schema
	e.LogID = prev.LogID
	e.Seq = prev.Seq + 1
	e.Time = max(e.Time, prev.Time+1)
	e.Prev = prev.Hash
	if e.EntityVersion == 1 {
		e.Created = e.Time
	}

	var err error
	if e.Document, err = compact(e.Document); err != nil {
		return Envelope{}, fmt.Errorf("document of %s: %w", e.Entity, err)
	}
	if e.Operations, err = compactAll(e.Operations); err != nil {
		return Envelope{}, fmt.Errorf("operations on %s: %w", e.Entity, err)
	}
	if err = e.check(); err != nil {
		return Envelope{}, fmt.Errorf("sealing %s: %w", e.Entity, err)
	}
	if e.Hash, err = e.hashed(); err != nil {
		return Envelope{}, err
	}
	return e, nil
}

func compact(raw json.RawMessage) (json.RawMessage, error) {
	if raw == nil {
		return nil, nil
	}
	var buf bytes.Buffer
	if err := json.Compact(&buf, raw); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// compactAll also gives operations the form that they will have when they are
// read back, so that a sealed envelope equals its decoded self.
func compactAll(ops []flags.Operation) ([]flags.Operation, error) {
	if len(ops) == 0 {
		return nil, nil
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(ops); err != nil {
		return nil, err
	}
	var out []flags.Operation
	return out, json.Unmarshal(buf.Bytes(), &out)
}

// Verify reports whether e continues a log whose head is prev: nil, or
// [ErrEpoch], [ErrGap], [ErrFork] or [ErrCorrupt].
//
// A sequence at or below prev's is a fork too. Readers for whom redelivery is
// normal skip it before they ask.
func Verify(prev Head, e Envelope) error {
	switch {
	case e.LogID != prev.LogID:
		return fmt.Errorf("%w: at %s of log %s, got %s", ErrEpoch, prev, prev.LogID, e.LogID)
	case e.Seq > prev.Seq+1:
		return fmt.Errorf("%w: at %d, got %d", ErrGap, prev.Seq, e.Seq)
	case e.Seq != prev.Seq+1:
		return fmt.Errorf("%w: at %d, got %d", ErrFork, prev.Seq, e.Seq)
	}
	own, err := e.hashed()
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	case own != e.Hash:
		return fmt.Errorf("%w: hash of %d is %s, should be %s", ErrCorrupt, e.Seq, e.Hash, own)
	case e.Prev != prev.Hash:
		return fmt.Errorf("%w: %d follows %s, not %s", ErrFork, e.Seq, e.Prev, prev.Hash)
	case e.Time <= prev.Time:
		return fmt.Errorf("%w: time of %d is not after %d's", ErrCorrupt, e.Seq, prev.Seq)
	}
	return nil
}
