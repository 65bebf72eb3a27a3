// Package lifecycle runs the parts of a process: it starts them in order, and
// stops them in reverse.
//
// The order is the point. A listener drains while the state behind it still
// moves, and the bus goes last, so that pending acknowledgements can leave.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// A Part is something that runs until it is told to stop.
type Part struct {
	Name string
	// Run works until ctx is done and then returns nil, or ctx's error. A part
	// that returns while nobody asked it to ends the whole process.
	Run func(ctx context.Context) error
	// Ready, when set, returns once the parts after this one may start.
	Ready func(ctx context.Context) error
}

// running is a started part.
type running struct {
	name string
	stop context.CancelFunc
	done chan struct{}
	err  error // written before done is closed
}

// Run starts the parts in order and blocks until ctx is done or a part ends.
// Then it stops them one after the other, last first, and gives all of them
// together the time drain. The error joins every part's failure.
func Run(ctx context.Context, drain time.Duration, parts ...Part) error {
	// A part's context must outlive ctx: parts that others lean on stop later.
	base := context.WithoutCancel(ctx)
	ended := make(chan *running, len(parts))
	var started []*running
	var failure error

start:
	for _, p := range parts {
		if ctx.Err() != nil {
			break
		}
		own, stop := context.WithCancel(base)
		r := &running{name: p.Name, stop: stop, done: make(chan struct{})}
		started = append(started, r)
		go func() { // ends when stop is called, or on its own failure
			r.err = p.Run(own)
			close(r.done)
			ended <- r
		}()
		if p.Ready == nil {
			continue
		}
		waiting, cancel := context.WithCancel(ctx)
		ready := make(chan error, 1)
		go func() { ready <- p.Ready(waiting) }() // ends with waiting
		select {
		case err := <-ready:
			cancel()
			if err != nil && ctx.Err() == nil {
				failure = fmt.Errorf("%s: getting ready: %w", p.Name, err)
				break start
			}
		case first := <-ended:
			cancel()
			failure = unexpected(first)
			break start
		}
	}

	if failure == nil {
		select {
		case <-ctx.Done():
		case first := <-ended:
			failure = unexpected(first)
		}
	}
	return errors.Join(failure, stopAll(started, drain, failure))
}

func unexpected(r *running) error {
	if r.err == nil {
		return fmt.Errorf("%s: stopped though nobody asked it to", r.name)
	}
	return fmt.Errorf("%s: %w", r.name, r.err)
}

// stopAll stops parts in reverse. When the time is up the rest is told to stop
// at once and not waited for.
func stopAll(started []*running, drain time.Duration, reported error) error {
	timer := time.NewTimer(drain)
	defer timer.Stop()
	var errs []error
	for i := len(started) - 1; i >= 0; i-- {
		r := started[i]
		r.stop()
		select {
		case <-r.done:
			if r.err != nil && !errors.Is(r.err, context.Canceled) && !errors.Is(reported, r.err) {
				errs = append(errs, fmt.Errorf("stopping %s: %w", r.name, r.err))
			}
		case <-timer.C:
			var late []string
			for _, other := range started[:i+1] {
				other.stop()
				late = append(late, other.name)
			}
			return errors.Join(append(errs, fmt.Errorf("not stopped within %s: %s", drain, strings.Join(late, ", ")))...)
		}
	}
	return errors.Join(errs...)
}
