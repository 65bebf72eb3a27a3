package main

import (
	"context"
	"fmt"
	"unsafe"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/bus/facts"
	"github.com/sluice-flags/sluice/pkg/events"
)

// read takes rows from the stream and decodes them, as the loader does, and does
// nothing with them. What the loader takes beyond that is what it does with a fact
// that is decoded: whether to keep it and whether it came before, columns, sending.
func read(ctx context.Context, conn *bus.Conn, rows int) error {
	reader, err := facts.NewReader(ctx, conn, 0)
	if err != nil {
		return err
	}
	var decoder events.FactsReader
	var n counter
	for m, err := range reader.Follow(ctx, 0) {
		if err != nil {
			return err
		}
		text := unsafe.String(unsafe.SliceData(m.Data), len(m.Data)) // no copy, as in the loader
		if err := decoder.Read(text, &n); err != nil {
			return err
		}
		if int(n) >= rows {
			break
		}
	}
	if int(n) != rows {
		return fmt.Errorf("%d rows were read, there are %d", n, rows)
	}
	return nil
}

// A counter counts the facts that it is shown.
type counter int

// Begin implements [events.FactsVisitor].
func (*counter) Begin(events.Text) {}

// Exposure implements [events.FactsVisitor].
func (n *counter) Exposure(*events.ExposureRecord) { *n++ }

// Event implements [events.FactsVisitor].
func (n *counter) Event(*events.EventRecord) { *n++ }

// Dead implements [events.FactsVisitor].
func (n *counter) Dead(*events.DeadRecord) { *n++ }
