package warehouse

import (
	"encoding/binary"
	"math"
	"strings"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/sluice-flags/sluice/pkg/events"
)

// Columns hold rows as the engine's native protocol wants them, so that sending
// a block is handing over memory, and keep their memory from block to block.
//
// A message's texts are numbers, and few of them are new in a row. So a column
// of words looks each text up once in a message, not once in a row.

// A column is one column of a block that grows.
type column interface {
	proto.ColInput
	begin(r *events.FactsReader) // texts are those of r from now on; what follows can be undone
	undo()                       // drops what came since begin
	reset()                      // drops everything
}

// fixedColumn is a column of values that all take as many bytes.
type fixedColumn struct {
	kind  proto.ColumnType
	width int
	data  []byte
	kept  int // bytes at begin
}

func newFixed(kind proto.ColumnType, width int) *fixedColumn {
	return &fixedColumn{kind: kind, width: width}
}

func (c *fixedColumn) Type() proto.ColumnType       { return c.kind }
func (c *fixedColumn) Rows() int                    { return len(c.data) / c.width }
func (c *fixedColumn) EncodeColumn(b *proto.Buffer) { b.PutRaw(c.data) }
func (c *fixedColumn) WriteColumn(w *proto.Writer)  { w.ChainWrite(c.data) }
func (c *fixedColumn) begin(*events.FactsReader)    { c.kept = len(c.data) }
func (c *fixedColumn) undo()                        { c.data = c.data[:c.kept] }
func (c *fixedColumn) reset()                       { c.data = c.data[:0] }
func (c *fixedColumn) byte(v byte)                  { c.data = append(c.data, v) }
func (c *fixedColumn) uint64(v uint64)              { c.data = binary.LittleEndian.AppendUint64(c.data, v) }
func (c *fixedColumn) float64(v float64)            { c.uint64(math.Float64bits(v)) }

func (c *fixedColumn) uint16(v uint16) { c.data = binary.LittleEndian.AppendUint16(c.data, v) }

// bool appends a Bool.
func (c *fixedColumn) bool(v bool) {
	if v {
		c.byte(1)
	} else {
		c.byte(0)
	}
}

// time appends milliseconds as a DateTime64(3), within what can be stored.
func (c *fixedColumn) time(ms int64) { c.uint64(uint64(min(max(ms, earliest), latest))) }

// uuid appends an id as a UUID: two numbers of 64 bits.
func (c *fixedColumn) uuid(id *events.FactID) {
	c.uint64(binary.BigEndian.Uint64(id[:8]))
	c.uint64(binary.BigEndian.Uint64(id[8:]))
}

// textColumn is a column of String.
type textColumn struct {
	from       *events.FactsReader
	rows       int
	data       []byte
	kept, size int // rows and bytes at begin
}

func (c *textColumn) Type() proto.ColumnType       { return proto.ColumnTypeString }
func (c *textColumn) Rows() int                    { return c.rows }
func (c *textColumn) EncodeColumn(b *proto.Buffer) { b.PutRaw(c.data) }
func (c *textColumn) WriteColumn(w *proto.Writer)  { w.ChainWrite(c.data) }
func (c *textColumn) undo()                        { c.rows, c.data = c.kept, c.data[:c.size] }
func (c *textColumn) reset()                       { c.rows, c.data = 0, c.data[:0] }

func (c *textColumn) begin(r *events.FactsReader) {
	c.from = r
	c.kept, c.size = c.rows, len(c.data)
}

// text appends a text of the message, which stands there as the engine wants it.
func (c *textColumn) text(t events.Text) {
	c.rows++
	c.data = append(c.data, c.from.Sized(t)...)
}

func (c *textColumn) string(s string) {
	c.rows++
	c.data = binary.AppendUvarint(c.data, uint64(len(s)))
	c.data = append(c.data, s...)
}

// wordColumn is a column of LowCardinality(String): texts by their number among the
// different ones of the block.
type wordColumn struct {
	from    *events.FactsReader
	numbers map[string]uint32
	list    textColumn // the different ones, by number
	keys    []uint32   // of each row
	known   []uint32   // of each text of the message, the number plus one; 0 if not looked up
	narrow  []byte     // keys as they are sent
	kept    int        // rows at begin
}

func newWords() *wordColumn { return &wordColumn{numbers: make(map[string]uint32)} }

func (c *wordColumn) Type() proto.ColumnType { return "LowCardinality(String)" }
func (c *wordColumn) Rows() int              { return len(c.keys) }
func (c *wordColumn) undo()                  { c.keys = c.keys[:c.kept] } // a word too many does no harm

func (c *wordColumn) reset() {
	clear(c.numbers)
	c.list.reset()
	c.keys = c.keys[:0]
}

func (c *wordColumn) begin(r *events.FactsReader) {
	c.from, c.kept = r, len(c.keys)
	clear(c.known)
	c.known = c.known[:0]
}

func (c *wordColumn) text(t events.Text) { c.keys = append(c.keys, c.numberOf(t)) }

// numberOf is that of a word of the message.
func (c *wordColumn) numberOf(t events.Text) uint32 {
	if int(t) >= len(c.known) {
		c.know(int(t) + 1)
	}
	n := c.known[t]
	if n == 0 {
		n = c.number(c.from.Text(t)) + 1
		c.known[t] = n
	}
	return n - 1
}

// know makes room for the first n texts of the message.
func (c *wordColumn) know(n int) {
	if n > cap(c.known) {
		c.known = append(make([]uint32, 0, 2*n), c.known...)
	}
	c.known = c.known[:n]
}

func (c *wordColumn) string(s string) { c.keys = append(c.keys, c.number(s)) }

// number is that of a word.
func (c *wordColumn) number(s string) uint32 {
	n, ok := c.numbers[s]
	if !ok {
		n = uint32(len(c.numbers))
		c.numbers[strings.Clone(s)] = n // the message goes
		c.list.string(s)
	}
	return n
}

// EncodeState writes which serialization of dictionaries follows.
func (c *wordColumn) EncodeState(b *proto.Buffer) { b.PutInt64(1) }

// Flags of a block of a dictionary's column: its own words come with it, and
// they replace those of the block before.
const ownWords = 1<<9 | 1<<10

// head writes what stands before the words.
func (c *wordColumn) head(b *proto.Buffer) {
	width := c.shrink()
	b.PutInt64(ownWords | int64(width)/2) // widths 1, 2, 4 have the codes 0, 1, 2
	b.PutInt64(int64(c.list.rows))
}

// shrink makes keys of the fewest bytes that hold them, and returns how many.
func (c *wordColumn) shrink() (width int) {
	c.narrow = c.narrow[:0]
	switch n := c.list.rows; {
	case n <= 1<<8:
		for _, k := range c.keys {
			c.narrow = append(c.narrow, byte(k))
		}
		return 1
	case n <= 1<<16:
		for _, k := range c.keys {
			c.narrow = binary.LittleEndian.AppendUint16(c.narrow, uint16(k))
		}
		return 2
	}
	for _, k := range c.keys {
		c.narrow = binary.LittleEndian.AppendUint32(c.narrow, k)
	}
	return 4
}

// EncodeColumn implements [proto.ColInput].
func (c *wordColumn) EncodeColumn(b *proto.Buffer) {
	if len(c.keys) == 0 {
		return
	}
	c.head(b)
	c.list.EncodeColumn(b)
	b.PutInt64(int64(len(c.keys)))
	b.PutRaw(c.narrow)
}

// WriteColumn implements [proto.ColInput].
func (c *wordColumn) WriteColumn(w *proto.Writer) {
	if len(c.keys) == 0 {
		return
	}
	w.ChainBuffer(c.head)
	c.list.WriteColumn(w)
	w.ChainBuffer(func(b *proto.Buffer) { b.PutInt64(int64(len(c.keys))) })
	w.ChainWrite(c.narrow)
}

// mapColumn is a column of Map(LowCardinality(String), String).
type mapColumn struct {
	ends   fixedColumn // of each row, the entries up to its last
	names  *wordColumn
	values textColumn
}

func newMaps() *mapColumn { return &mapColumn{ends: fixedColumn{width: 8}, names: newWords()} }

func (c *mapColumn) Type() proto.ColumnType { return "Map(LowCardinality(String), String)" }
func (c *mapColumn) Rows() int              { return c.ends.Rows() }

func (c *mapColumn) begin(r *events.FactsReader) {
	c.ends.begin(r)
	c.names.begin(r)
	c.values.begin(r)
}

func (c *mapColumn) undo() {
	c.ends.undo()
	c.names.undo()
	c.values.undo()
}

func (c *mapColumn) reset() {
	c.ends.reset()
	c.names.reset()
	c.values.reset()
}

func (c *mapColumn) pairs(ps []events.TextPair) {
	for _, p := range ps {
		c.names.text(p.Name)
		c.values.text(p.Value)
	}
	c.ends.uint64(uint64(c.values.rows))
}

// EncodeState implements [proto.StateEncoder].
func (c *mapColumn) EncodeState(b *proto.Buffer) { c.names.EncodeState(b) }

// EncodeColumn implements [proto.ColInput].
func (c *mapColumn) EncodeColumn(b *proto.Buffer) {
	c.ends.EncodeColumn(b)
	c.names.EncodeColumn(b)
	c.values.EncodeColumn(b)
}

// WriteColumn implements [proto.ColInput].
func (c *mapColumn) WriteColumn(w *proto.Writer) {
	c.ends.WriteColumn(w)
	c.names.WriteColumn(w)
	c.values.WriteColumn(w)
}

// numberColumn is a column of Nullable(Float64).
type numberColumn struct {
	absent fixedColumn
	values fixedColumn
}

func newNumbers() *numberColumn { return &numberColumn{fixedColumn{width: 1}, fixedColumn{width: 8}} }

func (c *numberColumn) Type() proto.ColumnType { return "Nullable(Float64)" }
func (c *numberColumn) Rows() int              { return c.values.Rows() }

func (c *numberColumn) begin(r *events.FactsReader) { c.absent.begin(r); c.values.begin(r) }
func (c *numberColumn) undo()                       { c.absent.undo(); c.values.undo() }
func (c *numberColumn) reset()                      { c.absent.reset(); c.values.reset() }

func (c *numberColumn) number(v float64, present bool) {
	c.absent.bool(!present)
	c.values.float64(v)
}

// EncodeColumn implements [proto.ColInput].
func (c *numberColumn) EncodeColumn(b *proto.Buffer) {
	c.absent.EncodeColumn(b)
	c.values.EncodeColumn(b)
}

// WriteColumn implements [proto.ColInput].
func (c *numberColumn) WriteColumn(w *proto.Writer) { c.absent.WriteColumn(w); c.values.WriteColumn(w) }
