package results

import (
	"context"
	"slices"
	"sync"
)

// maxLanded is how many answers are kept for those who ask the same again.
const maxLanded = 256

// flights answer equal questions once: whoever asks while the answer is on its
// way waits for it, and whoever asks later is given it again. Its key must name
// everything that the answer depends on. The zero value is ready.
type flights[T any] struct {
	mu    sync.Mutex
	open  map[string]*flight[T]
	order []string // of those that landed, oldest first
}

// A flight is one question on its way, or answered.
type flight[T any] struct {
	done    chan struct{} // closed when the answer is there
	answer  T
	err     error
	waiting int
	stop    context.CancelFunc
}

// do returns the answer to key, and finds it by ask if nobody has. ask is told
// to stop when nobody waits any more; an error is told to those who wait, and
// forgotten.
func (f *flights[T]) do(ctx context.Context, key string, ask func(context.Context) (T, error)) (T, error) {
	f.mu.Lock()
	one, ok := f.open[key]
	if !ok {
		asking, stop := context.WithCancel(context.WithoutCancel(ctx))
		one = &flight[T]{done: make(chan struct{}), stop: stop}
		if f.open == nil {
			f.open = map[string]*flight[T]{}
		}
		f.open[key] = one
		go func() { // ends with ask, which ends when it is told to stop
			defer stop()
			answer, err := ask(asking)
			f.land(key, one, answer, err)
		}()
	}
	one.waiting++
	f.mu.Unlock()

	select {
	case <-one.done:
		return one.answer, one.err
	case <-ctx.Done():
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if one.waiting--; one.waiting == 0 {
		select {
		case <-one.done: // it came in time for whoever asks next
		default:
			one.stop()
			if f.open[key] == one {
				delete(f.open, key) // whoever asks next starts anew
			}
		}
	}
	var none T
	return none, context.Cause(ctx)
}

func (f *flights[T]) land(key string, one *flight[T], answer T, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	one.answer, one.err = answer, err
	close(one.done)
	if f.open[key] != one {
		return
	}
	if err != nil {
		delete(f.open, key)
		return
	}
	if f.order = append(f.order, key); len(f.order) > maxLanded {
		delete(f.open, f.order[0])
		f.order = slices.Delete(f.order, 0, 1)
	}
}
