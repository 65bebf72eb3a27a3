package lookup

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/sluice-flags/sluice/pkg/eval"
)

// size returns what a memory holds, in agents and in bytes of text.
func (m *memory) size() (agents, bytes int) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	for _, generation := range []map[string]eval.UserAgent{m.now, m.old} {
		agents += len(generation)
		for agent, ua := range generation {
			bytes += len(agent) + len(ua.Browser)
		}
	}
	return agents, bytes
}

func TestAMemoryIsBoundedWhoeverAsks(t *testing.T) {
	for name, padding := range map[string]int{"short agents": 0, "long agents": maxAgent - 20} {
		t.Run(name, func(t *testing.T) {
			var m memory
			var askers sync.WaitGroup
			for asker := range 8 {
				askers.Go(func() {
					for i := range 2 * generation {
						agent := fmt.Sprintf("%d/%d %s", asker, i, strings.Repeat("x", padding))
						m.put(agent, eval.UserAgent{Browser: agent})
						if ua, ok := m.get(agent); ok && ua.Browser != agent {
							t.Errorf("get(%.20q) = %.20q, want its own", agent, ua.Browser)
						}
					}
				})
			}
			askers.Wait()
			if agents, bytes := m.size(); agents == 0 || agents > 2*generation || bytes > 2*generationBytes {
				t.Errorf("after %d agents the memory holds %d in %d bytes, want some, at most %d in %d", 16*generation, agents, bytes, 2*generation, 2*generationBytes)
			}
		})
	}
}

func TestAMemoryKeepsWhatIsAskedFor(t *testing.T) {
	var m memory
	m.put("often", eval.UserAgent{Browser: "Chrome"})
	m.put("once", eval.UserAgent{Browser: "Lynx"})
	for i := range 10 * generation {
		m.put(fmt.Sprint("other ", i), eval.UserAgent{})
		if _, ok := m.get("often"); !ok {
			t.Fatalf("after %d others the agent that is asked for all the time is forgotten", i)
		}
	}
	if _, ok := m.get("once"); ok {
		t.Error("an agent that nobody asked for again is still there, want it gone")
	}
}

func TestVersionsLeaveOutMissingParts(t *testing.T) {
	for want, parts := range map[string][]string{"": {"", ""}, "1": {"1", "", ""}, "1.3": {"1", "", "3"}, "2.3.4": {"", "2", "3", "4"}} {
		if got := dotted(parts...); got != want {
			t.Errorf("dotted(%q) = %q, want %q", parts, got, want)
		}
	}
}
