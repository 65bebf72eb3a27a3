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
	"strings"
	"sync"

	"github.com/ua-parser/uap-go/uaparser"

	"github.com/sluice-flags/sluice/pkg/eval"
)

// maxAgent is the length beyond which an agent is nobody's browser.
const maxAgent = 1000

// Agents reads user-agent headers by the public uap-core tables. Its tables are
// compiled on first use, because a process may never be asked.
type Agents struct {
	parser func() (*uaparser.Parser, error)
	known  memory
}

var _ eval.UserAgentParser = (*Agents)(nil)

// NewAgents returns a parser that remembers the latest agents.
func NewAgents() *Agents {
	return &Agents{parser: sync.OnceValues(func() (*uaparser.Parser, error) {
		// What the tables say is remembered here, whole and once, and not in
		// each of the parser's three parts.
		return uaparser.New(uaparser.WithCacheSize(1))
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
	if agent == "" || len(agent) > maxAgent {
		return eval.UserAgent{}
	}
	if ua, ok := a.known.get(agent); ok {
		return ua
	}
	parser, err := a.parser()
	if err != nil {
		return eval.UserAgent{}
	}
	browser, os := parser.ParseUserAgent(agent), parser.ParseOs(agent)
	ua := eval.UserAgent{
		Browser:        browser.Family,
		BrowserVersion: dotted(browser.Major, browser.Minor, browser.Patch),
		OS:             os.Family,
		OSVersion:      dotted(os.Major, os.Minor, os.Patch, os.PatchMinor),
	}
	a.known.put(agent, ua)
	return ua
}

// dotted joins the parts of a version that there are.
func dotted(parts ...string) string {
	var b strings.Builder
	for _, part := range parts {
		if part == "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(part)
	}
	return b.String()
}
