// Package sdks drives unmodified SDKs from the registries: each as an
// application would use it, all by the same few commands, so that a test about
// SDKs is written once.
//
// The Go SDK runs in this process, those in JavaScript and Python in a process of
// their own, and those for browsers on a page in Chromium: see tests/contract/js
// and tests/contract/python for what runs there and for the protocol that it
// speaks.
package sdks

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/sluice-flags/sluice/tests/harness"
)

// patience bounds one command: the longest that an SDK takes over anything here
// is to give up on a server that is not there.
const patience = 60 * time.Second

// An SDK is one unmodified SDK, and what it can do.
type SDK struct {
	Name   string // as registries know it, and where it runs
	Client bool   // takes a client key, and belongs to one user

	start starter
}

// All lists every SDK that is driven here: servers, then clients.
func All() []SDK { return append(Servers(), Clients()...) }

// Servers lists the SDKs that take a server key and decide by themselves.
func Servers() []SDK {
	return []SDK{
		{Name: "go-sdk", start: startGo},
		{Name: "statsig-node", start: inNode("statsig-node.mjs")},
		{Name: "statsig-node-core", start: inNode("statsig-node-core.mjs")},
		{Name: "statsig in Python", start: inPython("legacy.py")},
		{Name: "statsig-python-core", start: inPython("core.py")},
	}
}

// Clients lists the SDKs that take a client key and are told the decisions.
func Clients() []SDK {
	return []SDK{
		{Name: "js-client in Node", Client: true, start: inNode("js-client.mjs")},
		{Name: "js-client", Client: true, start: inBrowser("js-client.js")},
		{Name: "react-bindings", Client: true, start: inBrowser("react-bindings.js")},
		{Name: "statsig-js", Client: true, start: inBrowser("statsig-js.js")},
		{Name: "statsig-react", Client: true, start: inBrowser("statsig-react.js")},
	}
}

// A User is whom an SDK asks for, as SDKs write it.
type User map[string]any

// Setup says how an instance of an SDK is made. The zero value of what is not
// named is the SDK's own default.
type Setup struct {
	Base   string `json:"base"`             // where the platform answers
	Key    string `json:"key"`              // SDK key
	User   User   `json:"user,omitempty"`   // of a client SDK
	Tier   string `json:"tier,omitempty"`   // environment tier
	Values string `json:"values,omitempty"` // to start from without asking anybody
	Store  bool   `json:"store,omitempty"`  // keep definitions in the driver's store
	Local  bool   `json:"local,omitempty"`  // touch no network
	Beside bool   `json:"-"`                // in a browser, keep the page and the instances in it

	Options map[string]any `json:"options,omitempty"` // more of the SDK's own, by its names
	Stream  string         `json:"stream,omitempty"`  // in Python: where to stream rules from
	Polls   string         `json:"polls,omitempty"`   // with Stream: where to poll from when it is lost
}

// A Question names what to read; what is left empty is not read.
type Question struct {
	Gate       string `json:"gate,omitempty"`
	Config     string `json:"config,omitempty"`
	Experiment string `json:"experiment,omitempty"`
	Layer      string `json:"layer,omitempty"`
	Parameter  string `json:"parameter,omitempty"` // of the layer
}

// Answers are what an SDK said, by member of the question: gate, config,
// experiment, layer.
type Answers map[string]Answer

// An Answer is a value and the metadata that came with it.
type Answer struct {
	Value  any    `json:"value"` // of a layer, the parameter's
	RuleID string `json:"ruleID"`
	Group  string `json:"group"` // "" where the SDK does not say
}

// An Event is something that a user did.
type Event struct {
	Name     string
	Value    any
	Metadata map[string]string
}

// command is what a driver is asked; see tests/contract/js/serve.mjs.
type command struct {
	ID   int64  `json:"id"`
	Do   string `json:"do"`
	Name string `json:"name"` // of the instance
	*Setup
	*Question

	User     User              `json:"user,omitempty"` // wins over Setup's
	Event    string            `json:"event,omitempty"`
	Metadata map[string]string `json:"metadata,omitempty"`
	Client   string            `json:"client,omitempty"` // client key of a payload
	Value    any               `json:"value,omitempty"`
}

// A caller brings a command to the SDK, wherever it runs, and returns its
// answer. It may be called from many goroutines.
type caller func(context.Context, command) (json.RawMessage, error)

// A Driver is an SDK that runs.
type Driver struct {
	SDK
	t    testing.TB
	call caller
}

// A starter makes an SDK ready to be driven. It fails or skips t; what it starts
// ends with the lab.
type starter func(t testing.TB, lab *Lab) caller

// A Lab is where SDKs run.
type Lab struct {
	t testing.TB

	mu      sync.Mutex
	browser context.Context
	vendor  *Vendor
}

// NewLab returns a lab. What runs in it ends with the test.
func NewLab(t testing.TB) *Lab { return &Lab{t: t} }

// chromium returns the lab's one browser.
func (l *Lab) chromium(path string) (context.Context, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.browser == nil {
		browser := harness.Browser(l.t, path)
		if err := chromedp.Do(browser, chromedp.Navigate("about:blank")); err != nil {
			return nil, fmt.Errorf("starting the browser: %w", err)
		}
		l.browser = browser
	}
	return l.browser, nil
}

// Start makes an SDK ready to be driven, until the lab closes.
func (l *Lab) Start(t testing.TB, s SDK) *Driver {
	t.Helper()
	return &Driver{SDK: s, t: t, call: s.start(t, l)}
}

// For returns the driver for the use of another test.
func (d *Driver) For(t testing.TB) *Driver {
	return &Driver{SDK: d.SDK, t: t, call: d.call}
}

// do runs a command that has to work and reads its answer into out, unless that
// is nil.
func (d *Driver) do(out any, c command) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	answer, err := d.call(ctx, c)
	if err == nil && out != nil {
		err = json.Unmarshal(answer, out)
	}
	if err != nil {
		d.t.Fatalf("%s, %s: %v", d.Name, c.Do, err)
	}
}

// An Instance is one client object of an SDK.
type Instance struct {
	d    *Driver
	name string
	user User // of a client SDK
}

// Open makes an instance and waits until the SDK says that it is ready. In a
// browser it is the first on a page that was just loaded, unless it is to be
// beside others.
func (d *Driver) Open(setup Setup) *Instance {
	d.t.Helper()
	i := &Instance{d: d, name: fmt.Sprint(serial.Add(1)), user: setup.User}
	if setup.Tier == "" {
		setup.Tier = "production"
	}
	d.do(nil, command{Do: "open", Name: i.name, Setup: &setup, User: setup.User})
	return i
}

// Check reads what is asked for a user. A client SDK is told about the user
// first, if it belongs to another.
func (i *Instance) Check(u User, q Question) (out Answers) {
	i.d.t.Helper()
	i.user = u
	i.d.do(&out, command{Do: "check", Name: i.name, User: u, Question: &q})
	return out
}

// Gate reads one gate's value.
func (i *Instance) Gate(u User, name string) bool {
	i.d.t.Helper()
	value, _ := i.Check(u, Question{Gate: name})["gate"].Value.(bool)
	return value
}

// Refresh makes a client SDK ask again. Server SDKs do so by themselves.
func (i *Instance) Refresh() {
	i.d.t.Helper()
	i.d.do(nil, command{Do: "refresh", Name: i.name, User: i.user})
}

// Log logs an event; client SDKs log it for the user they belong to.
func (i *Instance) Log(u User, e Event) {
	i.d.t.Helper()
	i.d.do(nil, command{Do: "event", Name: i.name, User: u, Event: e.Name, Value: e.Value, Metadata: e.Metadata})
}

// Flush sends what was logged.
func (i *Instance) Flush() {
	i.d.t.Helper()
	i.d.do(nil, command{Do: "flush", Name: i.name})
}

// Payload returns what a client SDK with the given key starts from, for a user.
func (i *Instance) Payload(u User, clientKey string) (out string) {
	i.d.t.Helper()
	i.d.do(&out, command{Do: "payload", Name: i.name, User: u, Client: clientKey})
	return out
}

// Override makes a gate of this instance say value, whatever the rules say.
func (i *Instance) Override(gate string, value bool) {
	i.d.t.Helper()
	i.d.do(nil, command{Do: "override", Name: i.name, Question: &Question{Gate: gate}, Value: value})
}

// Stored returns the definitions that the SDK wrote into the driver's store.
func (i *Instance) Stored() (out string) {
	i.d.t.Helper()
	i.d.do(&out, command{Do: "stored", Name: i.name})
	return out
}

// Rules returns the rules that the SDK last told of, to a callback.
func (i *Instance) Rules() (out string) {
	i.d.t.Helper()
	i.d.do(&out, command{Do: "rules", Name: i.name})
	return out
}

// Leave has the browser leave the page, as a user does who follows a link.
func (i *Instance) Leave() {
	i.d.t.Helper()
	i.d.do(nil, command{Do: "leave", Name: i.name})
}

// Close flushes and ends the instance.
func (i *Instance) Close() {
	i.d.t.Helper()
	i.d.do(nil, command{Do: "close", Name: i.name})
}
