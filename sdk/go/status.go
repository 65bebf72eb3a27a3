package sluice

import (
	"fmt"
	"sync"
	"time"
)

// A State says how good the definitions are that a client decides by.
type State uint8

// The states.
const (
	// Initializing: no edge has answered, or refused to, yet. Decisions come from
	// the store, the bootstrap or the caller's defaults.
	Initializing State = iota
	// Ready: the client holds what the edge holds.
	Ready
	// Stale: the client, or its edge, is cut off. Decisions come from the last
	// known state, for as long as it takes.
	Stale
	// Off: there will be no more changes: the key was refused, the client is in
	// local mode, or it was closed. Decisions come from the last known state.
	Off
)

// String returns the state in capitals.
func (s State) String() string {
	switch s {
	case Initializing:
		return "INITIALIZING"
	case Ready:
		return "READY"
	case Stale:
		return "STALE"
	case Off:
		return "OFF"
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// Status is how a client is doing.
type Status struct {
	State State
	Since time.Time // when the state was entered

	// LastError is the latest trouble with the feed, nil after it was overcome.
	LastError error

	// Sequence is the position in the project's log up to which the client knows
	// everything. It is 0 when the definitions came from a bootstrap or by
	// polling, neither of which says.
	Sequence uint64

	// Time is when the newest change was made that the client knows, in
	// milliseconds; 0 if it holds nothing.
	Time int64

	// Dropped counts exposures and events that were given up: the queue was full,
	// the server refused them for good, or Close ran out of time.
	Dropped uint64
}

// A board keeps the status and tells its listeners about new states.
type board struct {
	telling sync.Mutex // one listener call at a time, in the order of the states

	mu     sync.Mutex
	status Status
	ready  chan struct{} // closed when Ready or Off is first reached
	stop   bool          // Off is for ever

	listeners listeners[Status]
}

func newBoard() *board {
	return &board{status: Status{State: Initializing, Since: time.Now()}, ready: make(chan struct{})}
}

func (b *board) read() Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.status
}

// enter moves to a state, with the error that led there, and reports it when
// it differs.
func (b *board) enter(s State, err error) {
	b.telling.Lock()
	defer b.telling.Unlock()
	b.mu.Lock()
	if b.stop {
		b.mu.Unlock()
		return
	}
	differs := b.status.State != s
	if differs {
		b.status.State, b.status.Since = s, time.Now()
	}
	b.status.LastError = err
	if (s == Ready || s == Off) && !closed(b.ready) {
		close(b.ready)
	}
	b.stop = s == Off
	now := b.status
	b.mu.Unlock()
	if differs {
		b.listeners.tell(now)
	}
}

// trouble records that the client is cut off: who holds definitions becomes
// stale, who waits for the first ones goes on waiting.
func (b *board) trouble(err error, holds bool) {
	if holds {
		b.enter(Stale, err)
	} else {
		b.enter(Initializing, err)
	}
}

// moved records how far the client knows the log.
func (b *board) moved(sequence uint64, time int64) {
	b.mu.Lock()
	b.status.Sequence, b.status.Time = sequence, time
	b.mu.Unlock()
}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// listeners are functions that want to hear of something.
type listeners[T any] struct {
	mu    sync.Mutex
	next  int
	calls map[int]func(T)
}

// add returns a function that takes f away again.
func (l *listeners[T]) add(f func(T)) (remove func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.calls == nil {
		l.calls = map[int]func(T){}
	}
	id := l.next
	l.next++
	l.calls[id] = f
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.calls, id)
	}
}

// tell calls every listener, in the order in which they were added. Listeners
// may add and remove listeners.
func (l *listeners[T]) tell(v T) {
	l.mu.Lock()
	calls := make([]func(T), 0, len(l.calls))
	for id := range l.next {
		if f, ok := l.calls[id]; ok {
			calls = append(calls, f)
		}
	}
	l.mu.Unlock()
	for _, f := range calls {
		f(v)
	}
}
