package lookup

import (
	"strings"
	"sync"

	"github.com/sluice-flags/sluice/pkg/eval"
)

// generation is how many agents make a generation of a memory, and
// generationBytes how much text. Two are kept: some thousand agents make up
// nearly all traffic, and whoever sends others endlessly costs four megabytes at
// most.
const (
	generation      = 4096
	generationBytes = 2 << 20
)

// A memory holds what agents were parsed to: the latest, within bounds. What is
// asked for stays; what was not asked for during a whole generation goes.
type memory struct {
	mu       sync.RWMutex
	now, old map[string]eval.UserAgent
	bytes    int // of the keys of now, and their values
}

func (m *memory) get(agent string) (eval.UserAgent, bool) {
	m.mu.RLock()
	ua, ok := m.now[agent]
	aged := false
	if !ok {
		ua, aged = m.old[agent]
	}
	m.mu.RUnlock()
	if aged {
		m.put(agent, ua)
	}
	return ua, ok || aged
}

func (m *memory) put(agent string, ua eval.UserAgent) {
	agent = strings.Clone(agent) // it may be part of a whole request
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.now[agent]; ok {
		return
	}
	size := len(agent) + len(ua.Browser) + len(ua.BrowserVersion) + len(ua.OS) + len(ua.OSVersion)
	if m.now == nil || len(m.now) == generation || m.bytes+size > generationBytes {
		m.now, m.old, m.bytes = map[string]eval.UserAgent{}, m.now, 0
	}
	m.now[agent] = ua
	m.bytes += size
}
