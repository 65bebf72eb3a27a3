package ingest_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/warehouse/warehousetest"
	"github.com/sluice-flags/sluice/services/ingest"
)

// childVariable makes this binary the ingest service in a process of its own.
const childVariable = "SLUICE_TEST_INGEST"

type dying struct{}

func (dying) Helper()           {}
func (dying) Fatal(args ...any) { panic(fmt.Sprint(args...)) }

// beChild accepts facts until it is killed; loaders that are killed are another
// test. It prints its address, and ends with its standard input, so that it
// never outlives the test.
func beChild(nats string) {
	ctx := context.Background()
	conn, err := bus.Connect(ctx, bus.Config{URL: nats, Name: "child"})
	if err != nil {
		panic(err)
	}
	handler, run := compose(dying{}, conn, nil, slog.New(slog.DiscardHandler), prometheus.NewRegistry(), ingest.Options{AcceptOnly: true})
	go func() {
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		os.Exit(0)
	}()
	fmt.Println(httptest.NewServer(handler).URL)
	panic(run.all(ctx))
}

// startChild starts the service in a process of its own.
func (s *site) startChild() (child *exec.Cmd, url string) {
	s.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+s.broker.now.Load().URL())
	cmd.Stderr = os.Stderr
	if _, err := cmd.StdinPipe(); err != nil {
		s.t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = cmd.Process.Kill() })
	address, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		s.t.Fatal(err)
	}
	return cmd, strings.TrimSpace(address)
}

// Clients send until they are answered, as SDKs do, while the service is killed
// under them. Each event must become one row: those that were acknowledged and
// then sent again, and those whose answer was lost.
func TestKillingTheServiceLosesAndDoublesNothing(t *testing.T) {
	db := warehousetest.Open(t)
	s := newProject(t).serve(always(db)) // loads what the others accept
	const clients, kills = 4, 6
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	child, address := s.startChild()
	var url atomic.Pointer[string]
	url.Store(&address)
	post := func(text string) (acknowledged bool) {
		resp, err := http.Post(*url.Load()+"/v1/log_event?k="+s.client, "application/json", strings.NewReader(text))
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusAccepted
	}
	began := time.Now().UnixMilli()
	var wg sync.WaitGroup
	var sent, lost atomic.Int64 // bodies; attempts without an answer
	killed := make(chan struct{})
	for client := range clients {
		wg.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-killed:
					return
				default:
				}
				text := fmt.Sprintf(`{"events":[{"eventName":"a","user":{"userID":"u%d"},"time":%d},{"eventName":"b","user":{"userID":"u%d"},"time":%d}],"statsigMetadata":{"sessionID":"c%d"}}`,
					n, began+int64(n), n, began+int64(n), client)
				for !post(text) {
					lost.Add(1)
					time.Sleep(20 * time.Millisecond) // an SDK's back-off, made short
				}
				if n%7 == 0 {
					post(text) // an SDK that did not hear the answer
				}
				sent.Add(1)
			}
		})
	}
	for range kills {
		for until := sent.Load() + 20; sent.Load() < until; time.Sleep(time.Millisecond) { // it is at work
			if t.Context().Err() != nil {
				t.Fatal("the clients stand still")
			}
		}
		time.Sleep(time.Duration(random.IntN(50)) * time.Millisecond)
		if err := child.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = child.Wait()
		next, address := s.startChild()
		child = next
		url.Store(&address)
	}
	close(killed)
	wg.Wait()
	if lost.Load() < kills {
		t.Errorf("only %d attempts failed under %d kills: the kills did not hit", lost.Load(), kills)
	}
	t.Logf("%d bodies were acknowledged, %d attempts were not", sent.Load(), lost.Load())
	s.stored(db, 0, int(2*sent.Load()), 0)
}
