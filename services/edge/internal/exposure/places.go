package exposure

import (
	"hash/maphash"
	"sync/atomic"

	"github.com/sluice-flags/sluice/pkg/flags"
)

// A places remembers the environments of keys, which every decision asks for and
// few changes touch. Keys whose slot another one took are looked up again. It is
// safe for concurrent use.
type places [256]atomic.Pointer[place]

type place struct {
	state        *flags.State
	key          *flags.Key
	environments []string
}

var seed = maphash.MakeSeed()

// of returns the environments of a key in a state; nobody changes them.
func (p *places) of(state *flags.State, key *flags.Key) []string {
	if key == nil {
		return nil
	}
	slot := &p[maphash.Comparable(seed, key)%uint64(len(p))]
	known := slot.Load()
	if known == nil || known.key != key || known.state != state {
		known = &place{state, key, state.EnvironmentsOf(key)}
		slot.Store(known)
	}
	return known.environments
}
