// Package lookup answers what evaluation asks of the outside: which browser a
// user-agent header names, and which country an address is in.
//
// Both answers are remembered or mapped into memory, so that asking costs little
// on the request path. No table of addresses ships with Sluice: the operator
// names a file in MaxMind's format, and without one rules on the country see
// only the country that the user states.
package lookup

import (
	"fmt"
	"sync"

	"github.com/ua-parser/uap-go/uaparser"

	"github.com/sluice-flags/sluice/pkg/eval"
)

// agentCache is how many agents are remembered: about a megabyte, and far more
// than the agents that make up nearly all traffic.
const agentCache = 4096

// maxAgent is the length beyond which an agent is nobody's browser.
const maxAgent = 1000

// Agents reads user-agent headers by the public uap-core tables. Its tables are
// compiled on first use, because a process may never be asked.
type Agents struct {
	parser func() (*uaparser.Parser, error)
}

var _ eval.UserAgentParser = (*Agents)(nil)

// NewAgents returns a parser that remembers the latest agents.
func NewAgents() *Agents {
	return &Agents{parser: sync.OnceValues(func() (*uaparser.Parser, error) {
		return uaparser.New(uaparser.WithCacheSize(agentCache))
	})}
}

// Warm compiles the tables, so that the first request does not wait for it. It
// fails only if the tables themselves are broken.
func (a *Agents) Warm() error {
	if _, err := a.parser(); err != nil {
		return fmt.Errorf("compiling the user-agent tables: %w", err)
	}
	return nil
}

// ParseUserAgent implements [eval.UserAgentParser].
func (a *Agents) ParseUserAgent(agent string) eval.UserAgent {
	parser, err := a.parser()
	if err != nil || agent == "" || len(agent) > maxAgent {
		return eval.UserAgent{}
	}
	browser, os, device := parser.ParseUserAgent(agent), parser.ParseOs(agent), parser.ParseDevice(agent)
	return eval.UserAgent{
		Browser:        browser.Family,
		BrowserVersion: browser.ToVersionString(),
		OS:             os.Family,
		OSVersion:      os.ToVersionString(),
		Device:         device.Family,
	}
}
