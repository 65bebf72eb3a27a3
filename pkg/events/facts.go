package events

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
)

// A Batch is the facts of one project that travel in one message of the facts
// stream: acknowledged together, loaded together.
type Batch struct {
	Project   string
	Exposures []Exposure
	Events    []Event
	Dead      []DeadLetter
}

// Len is the number of facts in b.
func (b *Batch) Len() int { return len(b.Exposures) + len(b.Events) + len(b.Dead) }

// Errors of [DecodeBatch].
var (
	// ErrFactsVersion means that the message was written in a format this
	// program does not know: a newer program wrote it, or it is not ours.
	ErrFactsVersion = errors.New("unknown version of a facts message")
	// ErrFactsCorrupt means that the message does not follow its own format.
	ErrFactsCorrupt = errors.New("corrupt facts message")
)

// factsV1 is the first byte of every message in the format below. A message
// once written is decoded for ever: a new field means a new version here and
// in the decoder, never another meaning of this one.
//
//	batch    = version text(project) list(exposure) list(event) list(dead)
//	list(x)  = uvarint(count) x…
//	text     = uvarint(0) uvarint(length) bytes     a text not seen before
//	         | uvarint(n)                           the n-th text of this message, from 1
//	time     = varint(milliseconds - previous time in this message)
//
// Times differ little and texts repeat a lot (names, rules, SDKs, units), so
// an exposure takes about 40 bytes, of which 16 are its id.
const factsV1 = 1

const (
	flagOverride = 1 << iota // of an exposure
)

const (
	flagNumber = 1 << iota // of an event: a number follows
)

// EncodeBatch returns the message for b. Equal batches give equal bytes.
func EncodeBatch(b Batch) []byte { return AppendBatch(nil, b) }

// AppendBatch appends the message for b to dst and returns the result.
func AppendBatch(dst []byte, b Batch) []byte {
	w := factsWriter{buf: append(dst, factsV1), texts: make(map[string]uint64)}
	w.text(b.Project)

	w.uint(uint64(len(b.Exposures)))
	for i := range b.Exposures {
		w.exposure(&b.Exposures[i])
	}
	w.uint(uint64(len(b.Events)))
	for i := range b.Events {
		w.event(&b.Events[i])
	}
	w.uint(uint64(len(b.Dead)))
	for i := range b.Dead {
		w.dead(&b.Dead[i])
	}
	return w.buf
}

type factsWriter struct {
	buf   []byte
	texts map[string]uint64
	last  int64
}

func (w *factsWriter) uint(v uint64) { w.buf = binary.AppendUvarint(w.buf, v) }

func (w *factsWriter) time(ms int64) {
	w.buf = binary.AppendVarint(w.buf, ms-w.last)
	w.last = ms
}

func (w *factsWriter) text(s string) {
	if n, seen := w.texts[s]; seen {
		w.uint(n)
		return
	}
	w.texts[s] = uint64(len(w.texts) + 1)
	w.uint(0)
	w.uint(uint64(len(s)))
	w.buf = append(w.buf, s...)
}

func (w *factsWriter) pairs(ps []Pair) {
	w.uint(uint64(len(ps)))
	for _, p := range ps {
		w.text(p.Name)
		w.text(p.Value)
	}
}

func (w *factsWriter) exposure(e *Exposure) {
	w.buf = append(w.buf, e.ID[:]...)
	w.time(e.Time)
	w.time(e.Received)
	w.text(e.Environment)
	w.text(e.Kind)
	w.text(e.Name)
	w.text(e.RuleID)
	flags := byte(0)
	if e.Override {
		flags |= flagOverride
	}
	w.buf = append(w.buf, e.Group, flags)
	w.text(e.UnitType)
	w.text(e.UnitID)
	w.text(e.Value)
	w.text(e.Layer)
	w.text(e.Parameter)
	w.uint(e.Sequence)
	w.text(e.SDKType)
	w.text(e.SDKVersion)
	w.text(e.Reason)
}

func (w *factsWriter) event(e *Event) {
	w.buf = append(w.buf, e.ID[:]...)
	w.time(e.Time)
	w.time(e.Received)
	w.text(e.Environment)
	w.text(e.Name)
	w.text(e.UnitType)
	w.text(e.UnitID)
	w.pairs(e.UnitIDs)
	if e.Value != nil {
		w.buf = append(w.buf, flagNumber)
		w.buf = binary.LittleEndian.AppendUint64(w.buf, math.Float64bits(*e.Value))
	} else {
		w.buf = append(w.buf, 0)
	}
	w.text(e.ValueText)
	w.pairs(e.Metadata)
	w.text(e.SDKType)
	w.text(e.SDKVersion)
}

func (w *factsWriter) dead(d *DeadLetter) {
	w.buf = append(w.buf, d.ID[:]...)
	w.time(d.Received)
	w.text(d.Reason)
	w.text(d.Detail)
	w.text(d.Payload)
}

// DecodeBatch reads a message that [EncodeBatch] wrote, in any version that
// was ever released. It fails with [ErrFactsVersion] or [ErrFactsCorrupt], and
// spends no more memory than a small multiple of the message's size.
func DecodeBatch(message []byte) (Batch, error) {
	if len(message) == 0 {
		return Batch{}, fmt.Errorf("%w: empty", ErrFactsCorrupt)
	}
	if v := message[0]; v != factsV1 {
		return Batch{}, fmt.Errorf("%w: %d", ErrFactsVersion, v)
	}

	// One copy of the message; every text of the batch is a slice of it.
	r := factsReader{buf: string(message[1:])}
	b := Batch{Project: r.text()}
	b.Exposures = readList(&r, minExposure, (*factsReader).exposure)
	b.Events = readList(&r, minEvent, (*factsReader).event)
	b.Dead = readList(&r, minDead, (*factsReader).dead)
	if r.bad == "" && r.buf != "" {
		r.fail("bytes after the end")
	}
	if r.bad != "" {
		return Batch{}, fmt.Errorf("%w: %s", ErrFactsCorrupt, r.bad)
	}
	return b, nil
}

// The fewest bytes that one record takes: a count that claims more records
// than the rest of the message could hold is refused before memory is spent.
const (
	minExposure = 16 + 2 + 13 + 2
	minEvent    = 16 + 2 + 8 + 2
	minDead     = 16 + 1 + 3
	minPair     = 2
)

// A factsReader consumes buf. After the first fault every read returns zero,
// so that callers need to look only once, at the end.
type factsReader struct {
	buf   string
	texts []string
	last  int64
	bad   string
}

func (r *factsReader) fail(why string) {
	if r.bad == "" {
		r.bad = why
	}
	r.buf = ""
}

func (r *factsReader) bytes(n uint64) string {
	if n > uint64(len(r.buf)) {
		r.fail("cut short")
		return ""
	}
	s := r.buf[:n]
	r.buf = r.buf[n:]
	return s
}

func (r *factsReader) byte() byte {
	if s := r.bytes(1); s != "" {
		return s[0]
	}
	return 0
}

func (r *factsReader) uint() uint64 {
	var v uint64
	for i := range min(len(r.buf), binary.MaxVarintLen64) {
		c := r.buf[i]
		if c < 0x80 {
			if i == binary.MaxVarintLen64-1 && c > 1 || i > 0 && c == 0 {
				break // more than 64 bits, or not the shortest form
			}
			r.buf = r.buf[i+1:]
			return v | uint64(c)<<(7*i)
		}
		v |= uint64(c&0x7f) << (7 * i)
	}
	r.fail("bad number")
	return 0
}

func (r *factsReader) time() int64 {
	zigzag := r.uint()
	r.last += int64(zigzag>>1) ^ -int64(zigzag&1)
	return r.last
}

func (r *factsReader) text() string {
	n := r.uint()
	switch {
	case r.bad != "":
		return ""
	case n == 0:
		s := r.bytes(r.uint())
		r.texts = append(r.texts, s)
		return s
	case n > uint64(len(r.texts)):
		r.fail("text that was never written")
		return ""
	default:
		return r.texts[n-1]
	}
}

func (r *factsReader) id() (id FactID) {
	copy(id[:], r.bytes(uint64(len(id))))
	return id
}

// readList reads a count and that many records of at least size bytes each.
func readList[T any](r *factsReader, size int, read func(*factsReader) T) []T {
	n := r.uint()
	if n > uint64(len(r.buf)/size) {
		r.fail("more records than bytes")
		return nil
	}
	var list []T
	if n > 0 {
		list = make([]T, 0, n)
	}
	for range n {
		if r.bad != "" {
			return nil
		}
		list = append(list, read(r))
	}
	return list
}

func (r *factsReader) pair() Pair { return Pair{Name: r.text(), Value: r.text()} }

func (r *factsReader) exposure() (e Exposure) {
	e.ID = r.id()
	e.Time = r.time()
	e.Received = r.time()
	e.Environment = r.text()
	e.Kind = r.text()
	e.Name = r.text()
	e.RuleID = r.text()
	e.Group = r.byte()
	flags := r.byte()
	if flags&^flagOverride != 0 {
		r.fail("unknown flag of an exposure")
	}
	e.Override = flags&flagOverride != 0
	e.UnitType = r.text()
	e.UnitID = r.text()
	e.Value = r.text()
	e.Layer = r.text()
	e.Parameter = r.text()
	e.Sequence = r.uint()
	e.SDKType = r.text()
	e.SDKVersion = r.text()
	e.Reason = r.text()
	return e
}

func (r *factsReader) event() (e Event) {
	e.ID = r.id()
	e.Time = r.time()
	e.Received = r.time()
	e.Environment = r.text()
	e.Name = r.text()
	e.UnitType = r.text()
	e.UnitID = r.text()
	e.UnitIDs = readList(r, minPair, (*factsReader).pair)
	switch r.byte() {
	case 0:
	case flagNumber:
		if s := r.bytes(8); s != "" {
			bits := binary.LittleEndian.Uint64([]byte(s))
			e.Value = new(math.Float64frombits(bits))
		}
	default:
		r.fail("unknown flag of an event")
	}
	e.ValueText = r.text()
	e.Metadata = readList(r, minPair, (*factsReader).pair)
	e.SDKType = r.text()
	e.SDKVersion = r.text()
	return e
}

func (r *factsReader) dead() (d DeadLetter) {
	d.ID = r.id()
	d.Received = r.time()
	d.Reason = r.text()
	d.Detail = r.text()
	d.Payload = r.text()
	return d
}

// IDs returns the ids of every fact in b, in the order of the message.
func (b *Batch) IDs() []FactID {
	ids := make([]FactID, 0, b.Len())
	for i := range b.Exposures {
		ids = append(ids, b.Exposures[i].ID)
	}
	for i := range b.Events {
		ids = append(ids, b.Events[i].ID)
	}
	for i := range b.Dead {
		ids = append(ids, b.Dead[i].ID)
	}
	return ids
}

// SortPairs puts ps into the order that facts keep their maps in.
func SortPairs(ps []Pair) {
	slices.SortFunc(ps, func(a, b Pair) int {
		switch {
		case a.Name < b.Name:
			return -1
		case a.Name > b.Name:
			return 1
		}
		return 0
	})
}
