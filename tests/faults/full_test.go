package faults

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/tests/harness"
)

// ClickHouse is away until the stream of facts is full. From there on facts are
// refused, in words and without memory being spent on them. When ClickHouse is back
// everything that was acknowledged is loaded, room is made of what was, and what was
// refused is taken.
func TestAStreamThatIsFullBecauseClickHouseIsAwayDrains(t *testing.T) {
	nats := startBroker(t)
	conn, err := bus.Connect(t.Context(), bus.Config{URL: nats.url()})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := bus.EnsureShared(t.Context(), conn, bus.Limits{FactsBytes: 8 << 20}); err != nil {
		t.Fatal(err)
	}
	p := startParts(t, nats, 1, "--replay", "1s")
	shop := p.at(0, newShop(p.control))
	ledger := newLedger[receipt](t, "facts.jsonl")

	p.engine.held.Lock() // until the test wants it back
	back := sync.OnceFunc(p.engine.held.Unlock)
	defer back()
	_ = syscall.Kill(p.engine.now.Load().PID(), syscall.SIGKILL) // it lives

	// Each filler sends a body until it is taken, and then another one.
	var taken, refused atomic.Int64
	var over, failed atomic.Bool
	var fillers sync.WaitGroup
	defer fillers.Wait()
	defer failed.Store(true)
	for filler := range 3 {
		fillers.Go(func() {
			for n := 0; !over.Load() && !failed.Load(); n++ {
				body, r := heavy(fmt.Sprintf("%d/%d", filler, n))
				for sent := false; !sent && !failed.Load(); {
					got, err := shop.Do(shop.Server, http.MethodPost, "/v1/rgstr", body)
					switch {
					case err == nil && got.Status == http.StatusAccepted:
						ledger.add(r)
						taken.Add(1)
						sent = true
					case err == nil && got.Status == http.StatusServiceUnavailable && got.Header.Get("Retry-After") != "":
						refused.Add(1) // and some of it may be stored
					default:
						t.Errorf("POST /v1/rgstr = %d %s, %v; want 202, or 503 with Retry-After", got.Status, got.Body, err)
						return
					}
				}
			}
		})
	}
	await := func(what string, n *atomic.Int64, more int64) {
		t.Helper()
		want := n.Load() + more
		harness.Within(t, time.Minute, func() error {
			if now := n.Load(); now < want {
				return fmt.Errorf("%d bodies were %s; want %d", now, what, want)
			}
			return nil
		})
	}
	await("refused", &refused, 50)
	harness.Within(t, startLimit, func() error { return red(shop, "full") })
	full, before := taken.Load(), shop.Metric("process_resident_memory_bytes")
	await("refused", &refused, 150)
	if grown := shop.Metric("process_resident_memory_bytes") - before; grown > 64<<20 {
		t.Errorf("ingest grew by %.0f MiB while it refused 105 MB; want at most the 64 MiB that may wait", grown/(1<<20))
	}
	if now := taken.Load(); now > full+6 {
		t.Errorf("%d bodies of 700 KiB were taken by a full stream", now-full)
	}

	back()
	began := time.Now()
	await("taken", &taken, 12) // as much again
	t.Logf("%d bodies were taken before the stream was full, 12 more within %v of the engine's return; %d were refused",
		full, time.Since(began).Round(time.Millisecond), refused.Load())
	over.Store(true)
	fillers.Wait()
	harness.Within(t, startLimit, func() error {
		if red(shop, "") == nil {
			return errors.New("ingest is not ready with room")
		}
		return nil
	})
	checkFacts(t, shop, p.warehouse(), ledger.all())
	if let := shop.Metric("ingest_released_messages_total"); let == 0 {
		t.Error("no messages were let go, and yet there was room")
	}
}

// heavy is a body of 700 KiB that hardly shrinks, and what it says.
func heavy(name string) (body []byte, r receipt) {
	var list []harness.Doc
	for n := range 60 {
		noise := make([]byte, 9<<10)
		_, _ = rand.Read(noise) // never fails
		number := fmt.Sprintf("%s/%d", name, n)
		list = append(list, harness.Doc{
			"eventName": "heavy", "time": time.Now().UnixMilli(), "user": harness.Doc{"userID": "u"},
			"value": base64.StdEncoding.EncodeToString(noise), "metadata": harness.Doc{"number": number},
		})
		r.Events = append(r.Events, number)
	}
	body, err := json.Marshal(harness.Doc{"events": list, "statsigMetadata": harness.Doc{"sdkType": sdk}})
	if err != nil {
		panic(err) // maps of texts and numbers
	}
	return body, r
}
