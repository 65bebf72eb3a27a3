package warehouse

import (
	"fmt"
	"strings"
	"unsafe"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/sluice-flags/sluice/pkg/events"
)

// MaxInsertRows bounds the rows of a table in a [Block]: the engine cuts larger
// inserts into several blocks, of which each would be taken for a repetition of
// the first.
const MaxInsertRows = 500_000

// A Block is facts on their way into their tables: exposures, events and dead
// letters as the columns that the engine takes. They are written straight from
// the messages of the stream, and one that is filled again keeps its memory.
//
// Equal messages in equal order make equal blocks, whenever and wherever: that
// is what a token promises the engine. A fact that comes twice, because a sender
// repeated it to another process, is in its block once.
type Block struct {
	exposures exposureColumns
	events    eventColumns
	dead      deadColumns

	reader    events.FactsReader
	project   events.Text
	days      uint16 // for which the project's facts are kept
	retention Retention
	erasures  Erasures
	erased    erased // of the project
	left      int    // facts that were left out for that
	leftKept  int    // as of begin
	unit      []byte // scratch for a unit's key
}

// NewBlock returns an empty block.
func NewBlock() *Block {
	return &Block{exposures: newExposureColumns(), events: newEventColumns(), dead: newDeadColumns()}
}

// Keep says how long the facts are kept that are added from now on.
func (b *Block) Keep(r Retention) { b.retention = r }

// Forget says of which units nothing is kept: their facts are left out of what is
// added from now on. A batch that is sent again may so have fewer rows than it had
// at first, and never others.
func (b *Block) Forget(e Erasures) { b.erasures = e }

// Skip says which facts are stored already: they are left out of what is added
// from now on.
func (b *Block) Skip(s Stored) {
	for i, t := range b.tables() {
		t.stored = s[i]
	}
}

// Add appends the facts of a message of the facts stream. It fails as
// [events.DecodeBatch] does, and then has added nothing.
func (b *Block) Add(message []byte) error {
	b.begin()
	text := unsafe.String(unsafe.SliceData(message), len(message)) // nothing of it is kept
	if err := b.reader.Read(text, (*visitor)(b)); err != nil {
		b.undo()
		return err
	}
	return nil
}

// DeadLetter is one row of table dead_letters: a fact set aside with its reason.
type DeadLetter struct {
	Project  string
	ID       events.FactID
	Received int64  // milliseconds
	Reason   string // a stable code
	Detail   string // for people
	Body     string
}

// AddDead appends a dead letter that no message holds.
func (b *Block) AddDead(d DeadLetter) {
	c := &b.dead
	if c.skips(c.project.number(d.Project), &d.ID) {
		return
	}
	c.rows++
	c.project.string(d.Project)
	c.reason.string(d.Reason)
	c.detail.string(d.Detail)
	c.received.time(d.Received)
	c.id.uuid(&d.ID)
	c.body.string(d.Body)
}

// Facts is how many exposures and events are in b, or were left out of it because
// they are stored or came twice.
func (b *Block) Facts() int {
	return b.exposures.rows + b.exposures.skipped + b.events.rows + b.events.skipped
}

// Erased is how many facts were left out because nothing is kept of their units.
func (b *Block) Erased() int { return b.left }

// Dead is the same of dead letters.
func (b *Block) Dead() int { return b.dead.rows + b.dead.skipped }

// Rows is how many rows the largest of the tables gets.
func (b *Block) Rows() int { return max(b.exposures.rows, b.events.rows, b.dead.rows) }

// Reset empties b.
func (b *Block) Reset() {
	b.left = 0
	for _, t := range b.tables() {
		t.rows, t.skipped = 0, 0
		t.present.reset()
		for _, c := range t.columns {
			c.reset()
		}
	}
}

func (b *Block) tables() [3]*table {
	return [3]*table{&b.exposures.table, &b.events.table, &b.dead.table}
}

func (b *Block) begin() {
	b.leftKept = b.left
	for _, t := range b.tables() {
		t.kept, t.skippedKept = t.rows, t.skipped
		for _, c := range t.columns {
			c.begin(&b.reader)
		}
	}
}

func (b *Block) undo() {
	b.left = b.leftKept
	for _, t := range b.tables() {
		t.rows, t.skipped = t.kept, t.skippedKept
		for _, c := range t.columns {
			c.undo()
		}
	}
}

// A table is the columns of one.
type table struct {
	name    string
	columns []column
	input   proto.Input
	rows    int
	kept    int // rows at begin

	project              *wordColumn // three of the columns, which every table has
	received, id         *fixedColumn
	stored               ids      // of facts that are left out
	present              rowsByID // those of the block
	skipped, skippedKept int      // facts that were left out, in all and at begin
}

// skips tells whether a fact of a project, which is known by its number, is left
// out because it is stored, or in the block already. If it is not, its row has to
// be the next.
func (t *table) skips(project uint32, id *events.FactID) bool {
	if _, ok := t.stored[*id]; ok || !t.present.add(t, project, id) {
		t.skipped++
		return true
	}
	return false
}

func add[C column](t *table, name string, c C) C {
	t.columns = append(t.columns, c)
	t.input = append(t.input, proto.InputColumn{Name: name, Data: c})
	return c
}

func (t *table) words(name string) *wordColumn { return add(t, name, newWords()) }
func (t *table) texts(name string) *textColumn { return add(t, name, new(textColumn)) }
func (t *table) maps(name string) *mapColumn   { return add(t, name, newMaps()) }

func (t *table) fixed(name string, kind proto.ColumnType, width int) *fixedColumn {
	return add(t, name, newFixed(kind, width))
}

func (t *table) times(name string) *fixedColumn { return t.fixed(name, "DateTime64(3, 'UTC')", 8) }
func (t *table) ids(name string) *fixedColumn   { return t.fixed(name, proto.ColumnTypeUUID, 16) }

func (t *table) days() *fixedColumn {
	return t.fixed("retention_days", proto.ColumnTypeUInt16, 2)
}

// statement inserts into the table. The columns are spelled out, so that one
// that a later migration adds does not break an older loader.
func (t *table) statement() string {
	names := make([]string, len(t.input))
	for i, c := range t.input {
		names[i] = c.Name
	}
	return fmt.Sprintf("INSERT INTO %s (%s) VALUES", t.name, strings.Join(names, ", "))
}
