package faults

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/sluice-flags/sluice/tests/harness"
)

// Every part that facts pass through is killed at random moments, again and again,
// while senders send and repeat: whoever accepts, whoever loads between an insert
// and its position, NATS, and ClickHouse. What was acknowledged is stored, once,
// and what views make of it is what the ledger makes of it.
func TestEveryFactCountsOnceWhicheverPartIsKilled(t *testing.T) {
	random := dice(t)
	p := startParts(t, startBroker(t), 2)
	shop := newShop(p.control)
	s := newSite(t, shop, 0)
	s.addSenders(shop, p.edge, 2*senders)
	var lost atomic.Int64 // attempts that nobody answered
	var steps []func() error
	for n, c := range s.senders {
		c.shop, c.bad = p.at(n%len(p.ingests), shop), true
		steps = append(steps, stubborn(c.step, &lost))
	}

	victims := []struct {
		name string
		kill func() error
	}{
		{"ingest", func() error { return p.killIngest(random) }},
		{"loader, between insert and position", p.killLoader},
		{"NATS", func() error { p.nats.kill(); p.nats.start(); return nil }},
		{"ClickHouse", p.engine.kill},
	}
	kills := make([]int, len(victims))
	total := rounds(t, 8)
	began := time.Now()
	s.through(func() error {
		var turn []int
		for range total {
			if len(turn) == 0 { // each comes to its turn, in any order
				turn = random.Perm(len(victims))
			}
			v := victims[turn[0]]
			if err := s.awaitWork(); err != nil {
				return fmt.Errorf("before killing %s: %w", v.name, err)
			}
			time.Sleep(time.Duration(random.IntN(300)) * time.Millisecond) // any moment
			if err := v.kill(); err != nil {
				return fmt.Errorf("killing %s: %w", v.name, err)
			}
			kills[turn[0]]++
			turn = turn[1:]
		}
		return nil
	}, steps...)
	s.over.Store(false)
	for _, c := range s.senders {
		for settle := stubborn(c.settle, &lost); c.pending != nil; {
			if err := settle(); err != nil {
				t.Fatal(err)
			}
		}
	}

	receipts, db := s.facts.all(), p.warehouse()
	checkFacts(t, p.at(0, shop), db, receipts)
	checkFirst(t, db, receipts)
	checkResults(t, shop, receipts)

	var out strings.Builder
	fmt.Fprintf(&out, "%d kills in %v:", total, time.Since(began).Round(time.Second))
	for i, v := range victims {
		fmt.Fprintf(&out, " %d × %s;", kills[i], v.name)
	}
	refused := int64(0)
	for _, c := range s.senders {
		refused += c.refused.Load()
	}
	fmt.Fprintf(&out, "\n%d batches were acknowledged; %d attempts were not answered, %d were answered with 503\n", len(receipts), lost.Load(), refused)
	printLedger(t, &out, db, receipts)
	t.Log(out.String())
	if lost.Load() == 0 {
		t.Error("no attempt went unanswered: the kills did not hit")
	}
}

// stubborn makes a step out of one that fails because its server died: it is tried
// again, as an SDK does.
func stubborn(step func() error, lost *atomic.Int64) func() error {
	return func() error {
		err := step()
		if _, unanswered := errors.AsType[*url.Error](err); unanswered {
			lost.Add(1)
			time.Sleep(20 * time.Millisecond) // an SDK's back-off, made short
			return nil
		}
		return err
	}
}

// killIngest kills one of the ingests and starts it again.
func (p *parts) killIngest(random *rand.Rand) error {
	dies := p.ingests[random.IntN(len(p.ingests))]
	dies.Kill()
	dies.Restart()
	return nil
}

// killLoader waits until one of the ingests has inserted a batch, and kills it
// before it can say so.
func (p *parts) killLoader() error {
	died := make(chan *harness.Platform, len(p.ingests))
	for i, g := range p.gates {
		g.atPosition(func() {
			_ = syscall.Kill(p.ingests[i].PID(), syscall.SIGKILL)
			died <- p.ingests[i]
		})
	}
	var dead *harness.Platform
	select {
	case dead = <-died:
	case <-time.After(time.Minute):
		return errors.New("nothing is loaded")
	}
	for _, g := range p.gates {
		g.disarm()
	}
	for {
		dead.Kill()
		dead.Restart()
		select { // both may have been at the same point
		case dead = <-died:
		default:
			return nil
		}
	}
}

// checkFirst compares what the view of first exposures has made of what was loaded
// with what the ledger says.
func checkFirst(t *testing.T, db driver.Conn, receipts []receipt) {
	t.Helper()
	first := map[string]int64{}
	for _, r := range receipts {
		if at, seen := first[r.Unit]; !seen || r.Exposed < at {
			first[r.Unit] = r.Exposed
		}
	}
	var want []string
	for unit, at := range first {
		want = append(want, fmt.Sprintf("%s@%d in 1 group", unit, at))
	}
	got := column[string](t, db, `SELECT concat(unit_id, '@', toString(f.at), ' in ', toString(bitCount(f.mask)), ' group')
		FROM (SELECT unit_key, intDiv(min(first), 512) AS at, groupBitOr(mask) AS mask FROM first_exposures WHERE name = ? GROUP BY unit_key) AS f
		JOIN (SELECT DISTINCT unit_id, unit_key FROM exposures WHERE name = ?) AS e ON e.unit_key = f.unit_key`, experiment, experiment)
	sameSet(t, "first exposures", got, want)
}

// printLedger writes what was acknowledged beside what is stored.
func printLedger(t *testing.T, out *strings.Builder, db driver.Conn, receipts []receipt) {
	t.Helper()
	var exposures, happened, dead int
	for _, r := range receipts {
		exposures, happened, dead = exposures+1, happened+len(r.Events), dead+len(r.Dead)
	}
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\tacknowledged\tstored\tunique\t")
	for _, row := range []struct {
		name, rows string
		acked      int
	}{
		{"exposures", fmt.Sprintf("exposures WHERE name = '%s'", experiment), exposures},
		{"events", fmt.Sprintf("events WHERE event != '%s'", last), happened},
		{"dead letters", "dead_letters", dead},
	} {
		got := column[[]uint64](t, db, "SELECT [count(), uniqExact(event_id)] FROM "+row.rows)[0]
		fmt.Fprintf(table, "%s\t%d\t%d\t%d\t\n", row.name, row.acked, got[0], got[1])
		if slices.Max(got) != uint64(row.acked) || slices.Min(got) != uint64(row.acked) {
			t.Errorf("%s: %d were acknowledged; count() and uniqExact() are %v", row.name, row.acked, got)
		}
	}
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
}
