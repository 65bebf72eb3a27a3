package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/internal/bus"
	natsembed "github.com/sluice-flags/sluice/internal/bus/embed"
	"github.com/sluice-flags/sluice/internal/bus/natslog"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/tests/harness"
)

// A promise is a change that was answered with success.
type promise struct {
	Intent   string // the reason that the change carries, and its Idempotency-Key
	Sequence uint64
	ID       string // of the entity
	ETag     string
}

// A writer changes definitions, one request after another. It and its
// neighbours write to the same gates, so that some of what they ask for is
// refused.
type writer struct {
	t      *testing.T
	number int
	shop   *harness.Project
	ledger *ledger[promise]
	acked  *atomic.Int64
	over   *atomic.Bool // nobody waits any longer

	refused int           // requests that were to come again later
	slowest time.Duration // of those

	intents int
	pending *intent // sent, and its outcome is not known
}

// An intent is a request that is repeated until its outcome is known.
type intent struct {
	label, method, path, match string
	body                       harness.Doc
}

const sharedGates = 2

func sharedGate(n int) string { return fmt.Sprintf("shared-%d", n%sharedGates) }

// step makes one change and learns its outcome, or fails with a request: then
// nobody knows yet what came of it.
func (w *writer) step() error {
	if w.pending == nil {
		if err := w.intend(); err != nil {
			return err
		}
	}
	return w.settle()
}

// intend decides what to do next: a new gate, or a new version of a shared one.
func (w *writer) intend() error {
	w.intents++
	label := fmt.Sprintf("w%d-%d", w.number, w.intents)
	if w.intents%3 == 0 {
		w.pending = &intent{label: label, method: http.MethodPost, path: w.shop.Path("gates"),
			body: harness.Doc{"name": label, "reason": label, "rules": []harness.Doc{}}}
		return nil
	}
	path := w.shop.Path("gates", sharedGate(w.intents))
	seen, err := w.shop.Do(w.shop.Console, http.MethodGet, path, nil)
	if err != nil {
		return err
	}
	if seen.Status == http.StatusServiceUnavailable {
		return backOff(seen)
	}
	if seen.Status != http.StatusOK {
		return fmt.Errorf("GET %s answered %d %s", path, seen.Status, seen.Body)
	}
	w.pending = &intent{label: label, method: http.MethodPatch, path: path, match: seen.Header.Get("ETag"),
		body: harness.Doc{"description": label, "reason": label}}
	return nil
}

// settle sends what is pending until its outcome is known, or all is over.
func (w *writer) settle() error {
	for w.pending != nil && !w.over.Load() {
		in := w.pending
		headers := []string{"Idempotency-Key", in.label}
		if in.match != "" {
			headers = append(headers, "If-Match", in.match)
		}
		began := time.Now()
		got, err := w.shop.Do(w.shop.Console, in.method, in.path, in.body, headers...)
		if err != nil {
			return err
		}
		switch got.Status {
		case http.StatusOK, http.StatusCreated:
			var entity struct {
				ID       string `json:"id"`
				Sequence uint64 `json:"sequence"`
			}
			if err := json.Unmarshal(got.Body, &entity); err != nil {
				return fmt.Errorf("%s %s answered %s: %w", in.method, in.path, got.Body, err)
			}
			w.ledger.add(promise{Intent: in.label, Sequence: entity.Sequence, ID: entity.ID, ETag: got.Header.Get("ETag")})
			w.acked.Add(1)
		case http.StatusPreconditionFailed: // a neighbour was faster; nothing was written
		case http.StatusServiceUnavailable:
			w.refused++ // the outcome is not known, or there is none yet
			w.slowest = max(w.slowest, time.Since(began))
			if err := backOff(got); err != nil {
				return err
			}
			continue
		default:
			return fmt.Errorf("%s %s answered %d %s", in.method, in.path, got.Status, got.Body)
		}
		w.pending = nil
	}
	return nil
}

// backOff waits as a 503 asks clients to.
func backOff(a harness.Answer) error {
	seconds, err := strconv.Atoi(a.Header.Get("Retry-After"))
	if err != nil || a.Header.Get("Content-Type") != "application/problem+json" {
		return fmt.Errorf("503 with Retry-After %q and %s %s; want a number of seconds and a problem document",
			a.Header.Get("Retry-After"), a.Header.Get("Content-Type"), a.Body)
	}
	time.Sleep(min(time.Duration(seconds)*time.Second, 2*time.Second))
	return nil
}

// A change is one entry of the project's log, as the API lists it.
type change struct {
	Sequence uint64 `json:"sequence"`
	Reason   string `json:"reason"`
	ID       string `json:"id"`
	Hash     string `json:"hash"`
}

// changes lists the whole log of a project.
func changes(shop *harness.Project) []change {
	shop.T.Helper()
	var out []change
	for since := uint64(0); ; {
		var page struct {
			Items     []change `json:"items"`
			NextSince uint64   `json:"nextSince"`
		}
		shop.Must(http.StatusOK, &page, shop.Console, http.MethodGet, shop.Path("changes")+fmt.Sprintf("?limit=200&since=%d", since), nil)
		out = append(out, page.Items...)
		if since = page.NextSince; since == 0 {
			return out
		}
	}
}

// checkPromises compares the log with what writers were promised so far.
func checkPromises(t *testing.T, log []change, promises []promise) {
	t.Helper()
	for i, c := range log {
		if c.Sequence != uint64(i+1) {
			t.Fatalf("change %d of the log has sequence %d; want sequences dense from 1", i+1, c.Sequence)
		}
	}
	for _, p := range promises {
		if p.Sequence == 0 || p.Sequence > uint64(len(log)) {
			t.Errorf("%s was promised sequence %d; the log ends with %d", p.Intent, p.Sequence, len(log))
			continue
		}
		got := log[p.Sequence-1]
		if got.Reason != p.Intent || got.ID != p.ID || p.ETag != fmt.Sprintf("%q", fmt.Sprint(p.Sequence)) {
			t.Errorf("%+v was promised; the log has %+v there", p, got)
		}
	}
}

// checkExactlyOnce compares the writers' part of the log with the ledger, when
// every outcome is known.
func checkExactlyOnce(t *testing.T, log []change, promises []promise) {
	t.Helper()
	var got, want []string
	for _, c := range log {
		if strings.HasPrefix(c.Reason, "w") {
			got = append(got, c.Reason)
		}
	}
	for _, p := range promises {
		want = append(want, p.Intent)
	}
	sameSet(t, "changes", got, want)
}

// checkChain opens the broker's folder of a stopped platform and follows every
// log from its beginning: envelope, chain and fold. The project's must be what
// the API listed.
func checkChain(t *testing.T, data, project string, listed []change) {
	t.Helper()
	nats, err := natsembed.Start(natsembed.Options{Dir: filepath.Join(data, "nats")})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := nats.Close(); err != nil {
			t.Error(err)
		}
	}()
	conn, err := bus.Connect(t.Context(), bus.Config{InProcess: nats, Name: "faults"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	projects, err := bus.Projects(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range projects {
		log, err := follow(t.Context(), conn, id)
		if err != nil {
			t.Errorf("the log of %s: %v", id, err)
		}
		if id == project {
			if diff := cmp.Diff(listed, log); diff != "" {
				t.Errorf("the API's list differs from the log (-api +log):\n%s", diff)
			}
		}
	}
}

// follow reads a log from its beginning and verifies it.
func follow(ctx context.Context, conn *bus.Conn, project string) ([]change, error) {
	log, err := natslog.Open(ctx, conn, project, natslog.Options{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	head, err := log.Head(ctx)
	if err != nil {
		return nil, err
	}
	at := events.Head{LogID: head.LogID}
	var out []change
	for e, err := range log.Read(ctx, 1) {
		if err != nil {
			return nil, err
		}
		if err := events.Verify(at, e); err != nil {
			return nil, fmt.Errorf("change %d: %w", e.Seq, err)
		}
		at = events.Head{LogID: e.LogID, Seq: e.Seq, Time: e.Time, Hash: e.Hash}
		out = append(out, change{Sequence: e.Seq, Reason: e.Reason, ID: e.Entity, Hash: e.Hash.String()})
	}
	if at != head {
		return nil, errors.New("reading did not reach the head")
	}
	return out, nil
}
