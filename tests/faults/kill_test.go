package faults

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/sluice-flags/sluice/tests/harness"
)

const (
	writers = 3
	senders = 3
	// Acknowledgements of each sort that a round waits for before it kills.
	changesBefore, batchesBefore = 8, 16
)

// The whole process, broker and engine with it, is killed at random points while
// definitions are written and facts are sent, and sometimes again while it
// starts. What was acknowledged is there; what was not is repeated as clients
// repeat it, and is there once.
func TestKillingTheProcessLosesNothingAcknowledgedAndDoublesNothing(t *testing.T) {
	random := dice(t)
	p := harness.Start(t, harness.Options{})
	shop := newShop(p)
	s := newSite(t, shop, writers)
	s.addSenders(shop, p, senders)
	for range rounds(t, 20) {
		// The engine's process id is known before the storm, its end after.
		engine := p.Engines()[0]
		s.storm(time.Duration(random.IntN(100))*time.Millisecond, p.Kill)
		checkGone(t, engine)
		for random.IntN(4) == 0 {
			killAtStart(t, p, random)
		}
		p.Restart()
		checkPromises(t, changes(s.shop), s.changes.all())
		if t.Failed() {
			t.FailNow()
		}
	}
	s.settle()

	log := s.checkAll(s.shop, warehouse(t, p))
	p.Stop()
	checkChain(t, p.Data, s.shop.ID, log)
}

// killAtStart starts the process and kills it before it is ready, or a little
// later.
func killAtStart(t *testing.T, p *harness.Platform, random *rand.Rand) {
	t.Helper()
	p.Launch()
	time.Sleep(time.Duration(random.IntN(1000)) * time.Millisecond) // any moment of the start
	p.Kill()
	for _, engine := range p.Engines() {
		checkGone(t, engine)
	}
}

// The engine is killed again and again while facts are sent. Every batch is
// acknowledged all the same, and is in the warehouse once.
func TestTheEnginesDeathLosesNothingAcknowledgedAndIsNotNoticedBySenders(t *testing.T) {
	random := dice(t)
	p := harness.Start(t, harness.Options{})
	shop := newShop(p)
	s := newSite(t, shop, 0)
	s.addSenders(shop, p, senders)
	var once []func() error
	for _, c := range s.senders {
		once = append(once, c.once)
	}
	for range rounds(t, 6) {
		known := p.Engines()
		s.through(func() error {
			time.Sleep(time.Duration(random.IntN(100)) * time.Millisecond) // any moment of the loading
			if err := syscall.Kill(known[len(known)-1], syscall.SIGKILL); err != nil {
				return err
			}
			return harness.Await(time.Minute, func() error {
				if len(p.Engines()) == len(known) {
					return errors.New("the process has not started another engine")
				}
				return nil
			})
		}, once...)
		checkGone(t, known[len(known)-1])
	}
	receipts := s.facts.all()
	t.Logf("%d batches were acknowledged", len(receipts))
	checkFacts(t, s.shop, warehouse(t, p), receipts)
	checkResults(t, s.shop, receipts)
}

// A site is a project with clients that work on it.
type site struct {
	t       *testing.T
	shop    *harness.Project
	changes *ledger[promise]
	facts   *ledger[receipt]
	writers []*writer
	senders []*sender
	wrote   atomic.Int64 // changes that were acknowledged
	sent    atomic.Int64 // batches
	over    atomic.Bool  // clients need not wait for outcomes any longer
}

// checkAll compares all that was acknowledged with what is there, and returns the
// log. ingest is the shop at the service that takes facts.
func (s *site) checkAll(ingest *harness.Project, db driver.Conn) []change {
	s.t.Helper()
	log, promises, receipts := changes(s.shop), s.changes.all(), s.facts.all()
	s.t.Logf("%d changes and %d batches were acknowledged", len(promises), len(receipts))
	checkPromises(s.t, log, promises)
	checkExactlyOnce(s.t, log, promises)
	checkFacts(s.t, ingest, db, receipts)
	checkResults(s.t, s.shop, receipts)
	return log
}

func newSite(t *testing.T, shop *harness.Project, writers int) *site {
	t.Helper()
	s := &site{t: t, shop: shop, changes: newLedger[promise](t, "changes.jsonl"), facts: newLedger[receipt](t, "facts.jsonl")}
	for n := range writers {
		s.writers = append(s.writers, &writer{t: t, number: n, shop: shop, ledger: s.changes, acked: &s.wrote, over: &s.over})
	}
	return s
}

// addSenders adds clients that send to where shop is, and ask edge.
func (s *site) addSenders(shop *harness.Project, edge *harness.Platform, senders int) {
	s.t.Helper()
	for n := range senders {
		s.senders = append(s.senders, newSender(s.t, n, shop, edge, s.facts))
		s.senders[n].acked, s.senders[n].over = &s.sent, &s.over
	}
}

// storm lets everybody work, for a moment longer than they need to get going,
// and kills the platform under them, which ends their turns.
func (s *site) storm(moment time.Duration, kill func()) {
	s.t.Helper()
	var dying atomic.Bool
	var work sync.WaitGroup
	for _, step := range s.steps() {
		work.Go(func() {
			for {
				err := step()
				if err == nil {
					continue
				}
				if !dying.Load() {
					s.t.Errorf("a client failed before there was a fault: %v", err)
				}
				return
			}
		})
	}
	err := s.awaitWork()
	time.Sleep(moment)
	dying.Store(true)
	kill()
	work.Wait()
	if err != nil {
		s.t.Fatal(err)
	}
}

// steps are what everybody does again and again.
func (s *site) steps() []func() error {
	var steps []func() error
	for _, w := range s.writers {
		steps = append(steps, w.step)
	}
	for _, c := range s.senders {
		steps = append(steps, c.step)
	}
	return steps
}

// through repeats steps before, during and after a fault, which must not make
// any of them fail.
func (s *site) through(fault func() error, steps ...func() error) {
	s.t.Helper()
	var work sync.WaitGroup
	s.over.Store(false)
	for _, step := range steps {
		work.Go(func() {
			for !s.over.Load() {
				if err := step(); err != nil {
					s.t.Error(err)
					return
				}
			}
		})
	}
	err := s.awaitWork()
	if err == nil {
		err = fault()
	}
	if err == nil {
		err = s.awaitWork()
	}
	s.over.Store(true)
	work.Wait()
	if err != nil {
		s.t.Fatal(err)
	}
}

// awaitWork waits for some more acknowledgements.
func (s *site) awaitWork() error {
	wrote, sent := s.wrote.Load(), s.sent.Load()
	return harness.Await(time.Minute, func() error {
		if len(s.writers) > 0 && s.wrote.Load() < wrote+changesBefore || len(s.senders) > 0 && s.sent.Load() < sent+batchesBefore {
			return fmt.Errorf("the clients stand still at %d changes and %d batches", s.wrote.Load(), s.sent.Load())
		}
		return nil
	})
}

// settle makes every outcome known.
func (s *site) settle() {
	s.t.Helper()
	s.over.Store(false)
	for _, w := range s.writers {
		if err := w.settle(); err != nil {
			s.t.Fatal(err)
		}
	}
	for _, c := range s.senders {
		if err := c.settle(); err != nil {
			s.t.Fatal(err)
		}
	}
}
