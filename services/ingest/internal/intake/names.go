package intake

import (
	"sync"

	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// Browsers learn the names of experiments in hashed form and report them so.
// names maps both hashes back. A name, once used, never means anything else, so
// entries only come; one table serves all states of a project.
type names struct {
	mu     sync.Mutex
	upTo   *flags.State      // the state whose names are all in
	hashed map[string]string // djb2 or sha256 → name
	known  map[string]bool   // by name
}

// original returns the name behind a hash, or the text itself.
func (n *names) original(s *flags.State, text string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.upTo != s {
		n.learn(s)
	}
	if name, ok := n.hashed[text]; ok {
		return name
	}
	return text
}

func (n *names) learn(s *flags.State) {
	if n.hashed == nil {
		n.hashed, n.known = make(map[string]string), make(map[string]bool)
	}
	for _, kind := range []flags.Kind{flags.KindGate, flags.KindConfig, flags.KindExperiment, flags.KindLayer} {
		for e := range s.All(kind) {
			if n.known[e.Name] {
				continue
			}
			n.known[e.Name] = true
			n.hashed[eval.HashName(eval.HashDJB2, e.Name)] = e.Name
			n.hashed[eval.HashName(eval.HashSHA256, e.Name)] = e.Name
		}
	}
	n.upTo = s
}
