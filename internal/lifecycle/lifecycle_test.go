package lifecycle_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/internal/lifecycle"
)

// diary records what happened, in order.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (d *diary) note(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lines = append(d.lines, line)
}

func (d *diary) part(name string) lifecycle.Part {
	ready := make(chan struct{})
	return lifecycle.Part{
		Name: name,
		Run: func(ctx context.Context) error {
			d.note("start " + name)
			close(ready)
			<-ctx.Done()
			d.note("stop " + name)
			return ctx.Err()
		},
		Ready: func(ctx context.Context) error {
			select {
			case <-ready:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		},
	}
}

func TestPartsStartInOrderAndStopInReverse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			synctest.Wait()
			cancel()
		}()
		if err := lifecycle.Run(ctx, time.Second, d.part("bus"), d.part("follower"), d.part("http")); err != nil {
			t.Fatalf("Run() = %v, want nil", err)
		}
		want := []string{"start bus", "start follower", "start http", "stop http", "stop follower", "stop bus"}
		if diff := cmp.Diff(want, d.lines); diff != "" {
			t.Errorf("Run() order (-want +got):\n%s", diff)
		}
	})
}

func TestOneFailingPartStopsTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		boom := errors.New("boom")
		err := lifecycle.Run(t.Context(), time.Second, d.part("bus"),
			lifecycle.Part{Name: "http", Run: func(context.Context) error { return boom }})
		if !errors.Is(err, boom) || strings.Count(err.Error(), "boom") != 1 {
			t.Errorf("Run() = %v, want boom once", err)
		}
		if diff := cmp.Diff([]string{"start bus", "stop bus"}, d.lines); diff != "" {
			t.Errorf("Run() order (-want +got):\n%s", diff)
		}
	})
}

func TestAPartThatEndsUnaskedIsAFailure(t *testing.T) {
	err := lifecycle.Run(t.Context(), time.Second, lifecycle.Part{Name: "loader", Run: func(context.Context) error { return nil }})
	if err == nil || !strings.Contains(err.Error(), "loader") {
		t.Errorf("Run() = %v, want an error that names the loader", err)
	}
}

func TestNothingStartsAfterAPartThatIsNotReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var d diary
		first := d.part("bus")
		first.Ready = func(context.Context) error { return errors.New("no stream") }
		err := lifecycle.Run(t.Context(), time.Second, first, d.part("http"))
		if err == nil || !strings.Contains(err.Error(), "bus: getting ready: no stream") {
			t.Errorf("Run() = %v, want the bus not ready", err)
		}
		for _, line := range d.lines {
			if strings.Contains(line, "http") {
				t.Errorf("Run() went on to %q after the bus was not ready", line)
			}
		}
	})
}

func TestAPartThatDoesNotStopIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		stuck := make(chan struct{})
		go func() {
			synctest.Wait()
			cancel()
		}()
		err := lifecycle.Run(ctx, time.Second, lifecycle.Part{Name: "stuck", Run: func(context.Context) error { <-stuck; return nil }})
		if err == nil || !strings.Contains(err.Error(), "not stopped within 1s: stuck") {
			t.Errorf("Run() = %v, want the stuck part named", err)
		}
		close(stuck)
	})
}

func TestSleepEndsWithItsTimeOrItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		if !lifecycle.Sleep(t.Context(), time.Minute) || time.Since(began) != time.Minute {
			t.Errorf("Sleep(a minute) ended after %v", time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if began := time.Now(); lifecycle.Sleep(ctx, time.Minute) || time.Since(began) != time.Second {
			t.Errorf("Sleep() under a context that ends in a second ended after %v, want false after a second", time.Since(began))
		}
	})
}
