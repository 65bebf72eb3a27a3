package sdks_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sluice-flags/sluice/tests/contract/sdks"
	"github.com/sluice-flags/sluice/tests/harness"
)

// A failure is one way in which sending events goes wrong. It meets the first
// delivery; those after it go through.
type failure struct {
	name string
	// stored says that the platform had taken the events when the SDK was told
	// otherwise, or nothing: then sending them again must not count them twice.
	stored bool
	meet   guard
}

// beyond is longer than any of these SDKs waits for an answer.
const beyond = 12 * time.Second

var failures = []failure{
	{"answers 500", false, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		_, _ = io.Copy(io.Discard, r.Body) // a client that still writes would see something else
		w.WriteHeader(http.StatusInternalServerError)
	}},
	{"stores, then answers 500", true, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(nobody{}, r)
		w.WriteHeader(http.StatusInternalServerError)
	}},
	{"stores, and does not answer", true, func(_ http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(nobody{}, r)
		select {
		case <-r.Context().Done(): // the SDK has given up
		case <-time.After(beyond):
		}
		panic(http.ErrAbortHandler)
	}},
	{"stores, and closes in the middle of the answer", true, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(nobody{}, r)
		w.Header().Set("Content-Length", "100")
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write([]byte(`{"succ`))
		panic(http.ErrAbortHandler)
	}},
	{"stores, and closes without an answer", true, func(_ http.ResponseWriter, r *http.Request, next http.Handler) {
		next.ServeHTTP(nobody{}, r)
		panic(http.ErrAbortHandler)
	}},
}

// nobody takes an answer that the SDK is not to see.
type nobody struct{}

func (nobody) Header() http.Header         { return http.Header{} }
func (nobody) Write(p []byte) (int, error) { return len(p), nil }
func (nobody) WriteHeader(int)             {}

// once meets the first delivery of events with the failure and counts them all.
func (f failure) once(deliveries *atomic.Int64) guard {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.Method == http.MethodPost && (strings.HasSuffix(r.URL.Path, "/log_event") || strings.HasSuffix(r.URL.Path, "/rgstr")) && deliveries.Add(1) == 1 {
			f.meet(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	}
}

// settled is what a query yields once an event that was logged just now is stored.
func (b *bench) settled(query string, args ...any) []string {
	b.shop.T.Helper()
	mark := sdks.User{"userID": "mark of " + b.shop.T.Name()}
	b.shop.Must(http.StatusAccepted, nil, b.shop.Server, "POST", "/v1/log_event",
		harness.Doc{"events": []harness.Doc{{"eventName": "mark", "user": mark, "value": "here"}}})
	b.eventually("events", []string{"here"}, "SELECT value_text FROM events WHERE event = 'mark' AND project = ? AND unit_id = ?", b.shop.ID, mark["userID"])
	return b.lines(query, args...)
}

// Real SDKs send again what they believe was lost, without an id that would tell
// that it is the same. Each event is counted once all the same.
func TestRetriesOfSDKsCountEachEventOnce(t *testing.T) {
	t.Parallel()
	p := harness.Shared(t)
	shop := p.NewProject("retries")
	lab := sdks.NewLab(t)
	const events = 5
	for _, sdk := range append(sdks.Servers(), sdks.Clients()[0]) {
		driver := lab.Start(t, sdk)
		for _, f := range failures {
			t.Run(sdk.Name+"/"+f.name, func(t *testing.T) {
				t.Parallel()
				b := &bench{Driver: driver.For(t), shop: forTest(t, shop), db: shop.Warehouse()}
				var deliveries atomic.Int64
				entrance := newDoor(t, shop.HTTP, f.once(&deliveries)).open()
				u := sdks.User{"userID": sdk.Name + "/" + f.name}
				i := b.Open(sdks.Setup{Base: entrance.base(), Key: b.key(shop), User: u})
				var want []string
				for n := range events {
					i.Log(u, sdks.Event{Name: "tried", Value: n, Metadata: map[string]string{"n": fmt.Sprint(n)}})
					want = append(want, fmt.Sprint(n))
				}
				start := time.Now()
				i.Flush()
				i.Close()
				const query = "SELECT metadata['n'] FROM events WHERE event = 'tried' AND project = ? AND unit_id = ?"
				if sdk.Name == "go-sdk" && !f.stored {
					// It sends the same request again, whose body has been read: what
					// arrives is nothing, unless the connection happens to be replaced.
					// Losing the events is the SDK's; counting them twice would be ours.
					if got := b.settled(query, shop.ID, u["userID"]); len(got) > 0 {
						b.eventually("events", want, query, shop.ID, u["userID"])
					}
					return
				}
				b.eventually("events", want, query, shop.ID, u["userID"])
				t.Logf("%d deliveries in %v", deliveries.Load(), time.Since(start).Round(time.Millisecond))
			})
		}
	}
}
