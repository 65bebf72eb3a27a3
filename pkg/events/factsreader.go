package events

import (
	"encoding/binary"
	"fmt"
	"math"
)

// A Text is a text of a message by its number there. Equal numbers are equal
// texts, so that who asks something of a text needs to ask once in a message.
type Text uint32

// A TextPair is a [Pair] by the numbers of its texts.
type TextPair struct{ Name, Value Text }

// An ExposureRecord is an [Exposure] as it stands in a message: its texts are
// numbers. Each record is overwritten by the next.
type ExposureRecord struct {
	ID                              FactID
	Time, Received                  int64
	Environment, Kind, Name, RuleID Text
	Group                           uint8
	Override                        bool
	UnitType, UnitID                Text
	Value, Layer, Parameter         Text
	Sequence                        uint64
	SDKType, SDKVersion, Reason     Text
	Metadata                        []TextPair
}

// An EventRecord is an [Event] as it stands in a message.
type EventRecord struct {
	ID                                  FactID
	Time, Received                      int64
	Environment, Name, UnitType, UnitID Text
	UnitIDs, Metadata                   []TextPair
	Value                               float64
	HasValue                            bool
	ValueText, SDKType, SDKVersion      Text
}

// A DeadRecord is a [DeadLetter] as it stands in a message.
type DeadRecord struct {
	ID                      FactID
	Received                int64
	Reason, Detail, Payload Text
}

// A FactsVisitor is shown a message: its project, then each of its records, in
// the order of the message.
type FactsVisitor interface {
	Begin(project Text)
	Exposure(*ExposureRecord)
	Event(*EventRecord)
	Dead(*DeadRecord)
}

// A FactsReader reads messages of facts and makes nothing of them but what its
// visitor makes. One that is used again keeps its memory.
type FactsReader struct {
	// What is left to read of the message begins at a byte of it. After the first
	// fault nothing is left and every read returns zero, so that nobody needs to
	// look before the end.
	message string
	at      int
	texts   []span // without pointers, which the collector would have to follow
	last    int64
	bad     string

	version byte

	exposure ExposureRecord
	event    EventRecord
	dead     DeadRecord
}

// A span is where in a message a text stands, and the number before it that
// says how long it is.
type span struct{ size, from, to int }

// Text is what a text of the message says that was read last: a part of the
// message itself.
func (r *FactsReader) Text(t Text) string {
	s := r.texts[t]
	return r.message[s.from:s.to]
}

// Sized is [FactsReader.Text] behind its length, in bytes, as an unsigned number
// of [encoding/binary]'s variable length.
func (r *FactsReader) Sized(t Text) string {
	s := r.texts[t]
	return r.message[s.size:s.to]
}

// Texts is how many texts that message has had so far.
func (r *FactsReader) Texts() int { return len(r.texts) }

// Read shows a message to v. It fails as [DecodeBatch] does; v may have been
// shown records by then.
func (r *FactsReader) Read(message string, v FactsVisitor) error {
	if message == "" {
		return fmt.Errorf("%w: empty", ErrFactsCorrupt)
	}
	if r.version = message[0]; r.version != factsV1 && r.version != factsV2 {
		return fmt.Errorf("%w: %d", ErrFactsVersion, r.version)
	}
	r.message, r.at, r.texts, r.last, r.bad = message, 1, r.texts[:0], 0, ""
	project := r.text()
	if r.bad == "" {
		v.Begin(project)
	}
	for range r.count(minExposure) {
		if r.readExposure(); r.bad == "" {
			v.Exposure(&r.exposure)
		}
	}
	for range r.count(minEvent) {
		if r.readEvent(); r.bad == "" {
			v.Event(&r.event)
		}
	}
	for range r.count(minDead) {
		if r.readDead(); r.bad == "" {
			v.Dead(&r.dead)
		}
	}
	if r.bad == "" && r.left() > 0 {
		r.fail("bytes after the end")
	}
	if r.bad != "" {
		return fmt.Errorf("%w: %s", ErrFactsCorrupt, r.bad)
	}
	return nil
}

// The fewest bytes that one record takes: a count that claims more records
// than the rest of the message could hold is refused before memory is spent.
const (
	minExposure = 16 + 2 + 13 + 2
	minEvent    = 16 + 2 + 8 + 2
	minDead     = 16 + 1 + 3
	minPair     = 2
)

func (r *FactsReader) fail(why string) {
	if r.bad == "" {
		r.bad = why
	}
	r.at = len(r.message)
}

func (r *FactsReader) left() int { return len(r.message) - r.at }

func (r *FactsReader) bytes(n uint64) string {
	if n > uint64(r.left()) {
		r.fail("cut short")
		return ""
	}
	from := r.at
	r.at += int(n)
	return r.message[from:r.at]
}

func (r *FactsReader) byte() byte {
	if r.left() == 0 {
		r.fail("cut short")
		return 0
	}
	c := r.message[r.at]
	r.at++
	return c
}

func (r *FactsReader) uint() uint64 {
	if r.at < len(r.message) && r.message[r.at] < 0x80 { // most are small
		v := r.message[r.at]
		r.at++
		return uint64(v)
	}
	return r.longUint()
}

func (r *FactsReader) longUint() uint64 {
	var v uint64
	rest := r.message[r.at:]
	for i := range min(len(rest), binary.MaxVarintLen64) {
		c := rest[i]
		if c < 0x80 {
			if i == binary.MaxVarintLen64-1 && c > 1 || i > 0 && c == 0 {
				break // more than 64 bits, or not the shortest form
			}
			r.at += i + 1
			return v | uint64(c)<<(7*i)
		}
		v |= uint64(c&0x7f) << (7 * i)
	}
	r.fail("bad number")
	return 0
}

func (r *FactsReader) time() int64 {
	zigzag := r.uint()
	r.last += int64(zigzag>>1) ^ -int64(zigzag&1)
	return r.last
}

func (r *FactsReader) text() Text {
	n := r.uint()
	switch {
	case r.bad != "":
		return 0
	case n == 0:
		size := r.at
		text := r.bytes(r.uint())
		r.texts = append(r.texts, span{size, r.at - len(text), r.at})
		return Text(len(r.texts) - 1)
	case n > uint64(len(r.texts)):
		r.fail("text that was never written")
		return 0
	}
	return Text(n - 1)
}

func (r *FactsReader) id() (id FactID) {
	copy(id[:], r.bytes(uint64(len(id))))
	return id
}

// count reads how many records of at least size bytes each follow.
func (r *FactsReader) count(size int) uint64 {
	n := r.uint()
	if n > uint64(r.left()/size) {
		r.fail("more records than bytes")
		return 0
	}
	return n
}

// pairs reads a list of pairs into the memory of an earlier one.
func (r *FactsReader) pairs(list []TextPair) []TextPair {
	list = list[:0]
	for range r.count(minPair) {
		name := r.text()
		list = append(list, TextPair{Name: name, Value: r.text()})
	}
	return list
}

func (r *FactsReader) readExposure() {
	e := &r.exposure
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
	if e.Metadata = e.Metadata[:0]; r.version >= factsV2 {
		e.Metadata = r.pairs(e.Metadata)
	}
}

func (r *FactsReader) readEvent() {
	e := &r.event
	e.ID = r.id()
	e.Time = r.time()
	e.Received = r.time()
	e.Environment = r.text()
	e.Name = r.text()
	e.UnitType = r.text()
	e.UnitID = r.text()
	e.UnitIDs = r.pairs(e.UnitIDs)
	e.Value, e.HasValue = 0, false
	switch r.byte() {
	case 0:
	case flagNumber:
		if s := r.bytes(8); s != "" {
			e.Value, e.HasValue = math.Float64frombits(binary.LittleEndian.Uint64([]byte(s))), true
		}
	default:
		r.fail("unknown flag of an event")
	}
	e.ValueText = r.text()
	e.Metadata = r.pairs(e.Metadata)
	e.SDKType = r.text()
	e.SDKVersion = r.text()
}

func (r *FactsReader) readDead() {
	d := &r.dead
	d.ID = r.id()
	d.Received = r.time()
	d.Reason = r.text()
	d.Detail = r.text()
	d.Payload = r.text()
}
