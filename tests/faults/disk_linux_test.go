package faults

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/tests/harness"
)

// Under NATS the disk fills up: first a stream comes to its limit, which is said
// cleanly, then nothing can be written at all, which readiness tells within five
// seconds. With room and a restart everything goes on, and what was acknowledged
// is there.
func TestAFullDiskIsToldAndLosesNothing(t *testing.T) {
	nats := startBrokerOn(t, harness.SmallDisk(t, 48<<20), 8<<30)
	conn, err := bus.Connect(t.Context(), bus.Config{URL: nats.url()})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := bus.EnsureShared(t.Context(), conn, bus.Limits{FactsBytes: 8 << 20}); err != nil {
		t.Fatal(err)
	}
	parts := harness.Options{Args: []string{"--nats-url", nats.url()}}
	control := startControl(t, parts)
	shop := newShop(control)
	parts.Command = "ingest"
	atIngest := *shop
	atIngest.Platform = harness.Start(t, parts)

	// The limit of a stream.
	var refused harness.Answer
	for taken := 0; refused.Status == 0; taken++ {
		got, err := atIngest.Do(shop.Server, http.MethodPost, "/v1/rgstr", bulk())
		switch {
		case err != nil:
			t.Fatal(err)
		case got.Status != http.StatusAccepted:
			refused = got
		case taken > 20:
			t.Fatalf("%d bodies of 700 KiB went into a stream of 8 MiB", taken)
		}
	}
	if refused.Status != http.StatusServiceUnavailable || refused.Header.Get("Retry-After") == "" {
		t.Errorf("a full stream answers %d %s; want 503 with Retry-After", refused.Status, refused.Body)
	}
	harness.Within(t, 5*time.Second, func() error { return red(&atIngest, "full") })
	if err := red(control, ""); err == nil {
		t.Error("control is not ready while only the stream of facts is full")
	}

	// The disk itself.
	s := newSite(t, shop, 2)
	s.through(func() error {
		filler := filepath.Join(nats.dir, "filler")
		if err := fill(filler); err != nil {
			return err
		}
		began := time.Now()
		for _, p := range []*harness.Platform{control, atIngest.Platform} {
			if err := harness.Await(5*time.Second-time.Since(began), func() error { return red(p, "") }); err != nil {
				return fmt.Errorf("the disk is full: %w", err)
			}
		}
		t.Logf("readiness told of the full disk after %v", time.Since(began).Round(time.Millisecond))
		if err := os.Remove(filler); err != nil {
			return err
		}
		nats.kill()
		nats.start()
		return nil
	}, s.steps()...)
	harness.Within(t, startLimit, func() error {
		if red(control, "") == nil {
			return errors.New("control is not ready with room and a restart")
		}
		return nil
	})
	s.settle()
	log, promises := changes(shop), s.changes.all()
	t.Logf("%d changes were acknowledged", len(promises))
	checkPromises(t, log, promises)
	checkExactlyOnce(t, log, promises)
}

// bulk is a body that hardly shrinks.
func bulk() harness.Doc {
	var list []harness.Doc
	for range 60 {
		noise := make([]byte, 9<<10)
		_, _ = rand.Read(noise) // never fails
		list = append(list, harness.Doc{"eventName": "bulk", "time": time.Now().UnixMilli(), "user": harness.Doc{"userID": "u"}, "value": base64.StdEncoding.EncodeToString(noise)})
	}
	return harness.Doc{"events": list}
}

// fill writes until the disk is full.
func fill(path string) error {
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	defer file.Close()
	for piece := 1 << 20; piece > 0; {
		if _, err := file.Write(make([]byte, piece)); errors.Is(err, syscall.ENOSPC) {
			piece /= 2
		} else if err != nil {
			return err
		}
	}
	return nil
}

// red is nil if a platform is not ready, for a reason with some word.
func red(p interface {
	Ready() (status int, body string, err error)
}, why string) error {
	status, body, err := p.Ready()
	if err == nil && (status != http.StatusServiceUnavailable || !strings.Contains(body, why)) {
		err = fmt.Errorf("GET /readyz = %d %s; want 503 %s", status, body, why)
	}
	return err
}

// The power of the disk that holds everything is cut while changes are written and
// facts are loaded. What was acknowledged is there, the tables attach unaided, and
// what was on its way is counted once.
func TestAPowerCutLosesNothingAcknowledged(t *testing.T) {
	random := dice(t)
	harness.NeedEngine(t)
	disk := harness.NewFragileDisk(t, 4<<30)
	data := filepath.Join(disk.Dir, "data") // beside lost+found
	p := harness.Start(t, harness.Options{Data: data})
	shop := newShop(p)
	s := newSite(t, shop, writers)
	s.addSenders(shop, p, senders)
	for range rounds(t, 1) {
		engine := p.Engines()[0]
		s.storm(2*time.Second+time.Duration(random.IntN(1000))*time.Millisecond, func() { // some inserts
			for _, pid := range []int{p.PID(), engine} { // nobody may tidy up
				_ = syscall.Kill(pid, syscall.SIGSTOP)
			}
			disk.Cut()
			_ = syscall.Kill(engine, syscall.SIGKILL)
			p.Kill()
			checkGone(t, engine)
		})
		disk.Restore()
		p.Restart()
		checkPromises(t, changes(s.shop), s.changes.all())
		if t.Failed() {
			t.FailNow()
		}
	}
	s.settle()
	s.checkAll(s.shop, warehouse(t, p))
	p.Kill()
}
