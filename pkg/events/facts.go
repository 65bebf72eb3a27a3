package events

import (
	"errors"
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

// The version is the first byte of every message in the format below. A message
// once written is decoded for ever: a new field means a new version here and
// in the decoder, never another meaning of an old one. A batch is written in the
// oldest version that holds it, so that loaders may be updated last.
//
//	batch    = version text(project) list(exposure) list(event) list(dead)
//	list(x)  = uvarint(count) x…
//	text     = uvarint(0) uvarint(length) bytes     a text not seen before
//	         | uvarint(n)                           the n-th text of this message, from 1
//	time     = varint(milliseconds - previous time in this message)
//
// Times differ little and texts repeat a lot (names, rules, SDKs, units), so
// an exposure takes about 40 bytes, of which 16 are its id.
//
// An exposure of version 2 ends with the list of its metadata.
const (
	factsV1 = 1
	factsV2 = 2
)

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
	w := factsWriter{version: factsV1, texts: make(map[string]uint64, 2*b.Len())}
	if slices.ContainsFunc(b.Exposures, func(e Exposure) bool { return len(e.Metadata) > 0 }) {
		w.version = factsV2
	}
	w.buf = append(dst, w.version)
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

// DecodeBatch reads a message that [EncodeBatch] wrote, in any version that
// was ever released. It fails with [ErrFactsVersion] or [ErrFactsCorrupt], and
// spends no more memory than a small multiple of the message's size.
func DecodeBatch(message []byte) (Batch, error) {
	var r FactsReader
	b := batchBuilder{texts: &r}
	if err := r.Read(string(message), &b); err != nil { // every text of the batch is a part of this one copy
		return Batch{}, err
	}
	return b.Batch, nil
}

// A batchBuilder makes a [Batch] of records.
type batchBuilder struct {
	Batch
	texts *FactsReader
}

func (b *batchBuilder) text(t Text) string { return b.texts.Text(t) }

func (b *batchBuilder) pairs(ps []TextPair) []Pair {
	if len(ps) == 0 {
		return nil
	}
	list := make([]Pair, len(ps))
	for i, p := range ps {
		list[i] = Pair{Name: b.text(p.Name), Value: b.text(p.Value)}
	}
	return list
}

// Begin implements [FactsVisitor].
func (b *batchBuilder) Begin(project Text) { b.Project = b.text(project) }

// Exposure implements [FactsVisitor].
func (b *batchBuilder) Exposure(e *ExposureRecord) {
	b.Exposures = append(b.Exposures, Exposure{
		ID: e.ID, Time: e.Time, Received: e.Received, Environment: b.text(e.Environment),
		Kind: b.text(e.Kind), Name: b.text(e.Name), RuleID: b.text(e.RuleID), Group: e.Group, Override: e.Override,
		UnitType: b.text(e.UnitType), UnitID: b.text(e.UnitID),
		Value: b.text(e.Value), Layer: b.text(e.Layer), Parameter: b.text(e.Parameter), Sequence: e.Sequence,
		SDKType: b.text(e.SDKType), SDKVersion: b.text(e.SDKVersion), Reason: b.text(e.Reason),
		Metadata: b.pairs(e.Metadata),
	})
}

// Event implements [FactsVisitor].
func (b *batchBuilder) Event(e *EventRecord) {
	event := Event{
		ID: e.ID, Time: e.Time, Received: e.Received, Environment: b.text(e.Environment),
		Name: b.text(e.Name), UnitType: b.text(e.UnitType), UnitID: b.text(e.UnitID), UnitIDs: b.pairs(e.UnitIDs),
		ValueText: b.text(e.ValueText), Metadata: b.pairs(e.Metadata),
		SDKType: b.text(e.SDKType), SDKVersion: b.text(e.SDKVersion),
	}
	if e.HasValue {
		event.Value = new(e.Value)
	}
	b.Events = append(b.Events, event)
}

// Dead implements [FactsVisitor].
func (b *batchBuilder) Dead(d *DeadRecord) {
	b.Batch.Dead = append(b.Batch.Dead, DeadLetter{
		ID: d.ID, Received: d.Received, Reason: b.text(d.Reason), Detail: b.text(d.Detail), Payload: b.text(d.Payload),
	})
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
	if len(ps) <= fewPairs {
		for i := 1; i < len(ps); i++ {
			for j := i; j > 0 && ps[j].Name < ps[j-1].Name; j-- {
				ps[j], ps[j-1] = ps[j-1], ps[j]
			}
		}
		return
	}
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

// fewPairs are put in order faster one by one.
const fewPairs = 12
