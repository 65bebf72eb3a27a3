package exposure

import (
	"hash/maphash"
	"sync/atomic"

	"github.com/sluice-flags/sluice/pkg/flags"
)

// A places remembers the environments of keys and the settings of their projects,
// which every decision asks for and few changes touch. Keys whose slot another one
// took are looked up again. It is safe for concurrent use.
type places [256]atomic.Pointer[place]

type place struct {
	key          *flags.Key
	log          string // the state that was asked; not the state, which would stay for it
	seq          uint64
	environments []string
	settings     *flags.Project
}

var seed = maphash.MakeSeed()

// of returns what a key means in a state; nobody changes it.
func (p *places) of(state *flags.State, key *flags.Key) *place {
	if key == nil {
		return &place{settings: state.Settings()}
	}
	slot := &p[maphash.Comparable(seed, key)%uint64(len(p))]
	known := slot.Load()
	if known == nil || known.key != key || known.seq != state.Seq() || known.log != state.LogID() {
		known = &place{key, state.LogID(), state.Seq(), state.EnvironmentsOf(key), state.Settings()}
		slot.Store(known)
	}
	return known
}
