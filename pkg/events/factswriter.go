package events

import (
	"encoding/binary"
	"math"
)

// A factsWriter writes the format of [EncodeBatch].
type factsWriter struct {
	version byte
	buf     []byte
	texts   map[string]uint64 // those that were written, by number
	last    int64

	fields [fieldCount]column
	names  [8]column // of the first pairs of a list
}

// A column is where one text of each record stands: it often says the same as the
// one before, and then need not be looked up.
type column struct {
	text   string
	number uint64 // of the text, 0 at first
}

// Columns of records.
const (
	fieldEnvironment = iota
	fieldKind
	fieldName
	fieldRule
	fieldUnitType
	fieldUnit
	fieldValue
	fieldLayer
	fieldParameter
	fieldSDK
	fieldSDKVersion
	fieldReason
	fieldCount
)

func (w *factsWriter) uint(v uint64) { w.buf = binary.AppendUvarint(w.buf, v) }

func (w *factsWriter) time(ms int64) {
	w.buf = binary.AppendVarint(w.buf, ms-w.last)
	w.last = ms
}

// text writes a text and returns its number.
func (w *factsWriter) text(s string) uint64 {
	if n, seen := w.texts[s]; seen {
		w.uint(n)
		return n
	}
	n := uint64(len(w.texts) + 1)
	w.texts[s] = n
	w.uint(0)
	w.uint(uint64(len(s)))
	w.buf = append(w.buf, s...)
	return n
}

// in writes a text of a column.
func (w *factsWriter) in(c *column, s string) {
	if c.number != 0 && c.text == s {
		w.uint(c.number)
		return
	}
	c.text, c.number = s, w.text(s)
}

func (w *factsWriter) field(i int, s string) { w.in(&w.fields[i], s) }

func (w *factsWriter) pairs(ps []Pair) {
	w.uint(uint64(len(ps)))
	for i, p := range ps {
		if i < len(w.names) {
			w.in(&w.names[i], p.Name)
		} else {
			w.text(p.Name)
		}
		w.text(p.Value)
	}
}

func (w *factsWriter) exposure(e *Exposure) {
	w.buf = append(w.buf, e.ID[:]...)
	w.time(e.Time)
	w.time(e.Received)
	w.field(fieldEnvironment, e.Environment)
	w.field(fieldKind, e.Kind)
	w.field(fieldName, e.Name)
	w.field(fieldRule, e.RuleID)
	flags := byte(0)
	if e.Override {
		flags |= flagOverride
	}
	w.buf = append(w.buf, e.Group, flags)
	w.field(fieldUnitType, e.UnitType)
	w.field(fieldUnit, e.UnitID)
	w.field(fieldValue, e.Value)
	w.field(fieldLayer, e.Layer)
	w.field(fieldParameter, e.Parameter)
	w.uint(e.Sequence)
	w.field(fieldSDK, e.SDKType)
	w.field(fieldSDKVersion, e.SDKVersion)
	w.field(fieldReason, e.Reason)
	if w.version >= factsV2 {
		w.pairs(e.Metadata)
	}
}

func (w *factsWriter) event(e *Event) {
	w.buf = append(w.buf, e.ID[:]...)
	w.time(e.Time)
	w.time(e.Received)
	w.field(fieldEnvironment, e.Environment)
	w.field(fieldName, e.Name)
	w.field(fieldUnitType, e.UnitType)
	w.field(fieldUnit, e.UnitID)
	w.pairs(e.UnitIDs)
	if e.Value != nil {
		w.buf = append(w.buf, flagNumber)
		w.buf = binary.LittleEndian.AppendUint64(w.buf, math.Float64bits(*e.Value))
	} else {
		w.buf = append(w.buf, 0)
	}
	w.field(fieldValue, e.ValueText)
	w.pairs(e.Metadata)
	w.field(fieldSDK, e.SDKType)
	w.field(fieldSDKVersion, e.SDKVersion)
}

func (w *factsWriter) dead(d *DeadLetter) {
	w.buf = append(w.buf, d.ID[:]...)
	w.time(d.Received)
	w.text(d.Reason)
	w.text(d.Detail)
	w.text(d.Payload)
}
