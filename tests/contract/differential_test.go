// Package contract holds unmodified SDKs of others to what our own evaluator
// answers: they are what a migrating application keeps.
package contract

import (
	"encoding/json"
	"flag"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	statsig "github.com/statsig-io/go-sdk"
	"github.com/statsig-io/ip3country-go/pkg/countrylookup"

	"github.com/sluice-flags/sluice/internal/lookup"
	"github.com/sluice-flags/sluice/pkg/eval"
)

// usualSeed makes every run of the suite compare the same projects, so that a red
// run is about the change at hand. Hunting is for -seed=0.
const usualSeed = 1

var seedFlag = flag.Uint64("seed", usualSeed, "of the random projects; 0 draws one, which is printed")

const (
	rowsWanted      = 100_000
	rowsWantedShort = 10_000
	tooMany         = 5 // unexplained differences
)

// The Go SDK and our evaluator read the same body and answer for the same users.
// Wherever they differ, one of the conditions that the entity asks must by itself
// be a known split for that user.
func TestTheGoSDKAnswersAsOurEvaluatorDoes(t *testing.T) {
	time.Local = time.UTC // to that SDK, days are those of the process's zone
	seed := *seedFlag
	for seed == 0 {
		seed = rand.Uint64()
	}
	want := rowsWanted
	if testing.Short() {
		want = rowsWantedShort
	}
	// The SDK reports panics of its own, which some splits are, to a logger of
	// the process.
	statsig.InitializeGlobalOutputLogger(statsig.OutputLoggerOptions{LogCallback: func(string, error) {}})
	d := differential{
		t: t, used: map[string]int{},
		options: eval.Options{Country: newSDKCountries(), UserAgent: lookup.NewAgents()},
	}
	t.Logf("seed %d: go test -run %s -args -seed=%d", seed, t.Name(), seed)
	for number := 0; d.rows < want && d.unexplained < tooMany; number++ {
		d.compare(newProject(seed, number))
	}
	t.Logf("compared %d rows and %d payloads; %d rows differ, and %d answers are unexplained", d.rows, d.payloadsCompared, d.differing, d.unexplained)
	t.Logf("%d more payloads the SDK could not make, for the panics among the splits", d.givenUp)
	if d.payloadsCompared == 0 && !t.Failed() {
		t.Error("no payload was compared, want those of every other project")
	}
	for _, s := range splits {
		t.Logf("%6d × %s: %s", d.used[s.name], s.name, s.why)
		// Rare splits need luck: only the usual projects are known to have them all.
		if d.used[s.name] == 0 && seed == usualSeed && !testing.Short() && !t.Failed() {
			t.Errorf("the split %q never occurred in %d rows: is it still one?", s.name, d.rows)
		}
	}
}

// sdkCountries is the table of addresses that the SDK embeds.
type sdkCountries struct{ table *countrylookup.CountryLookup }

func newSDKCountries() sdkCountries { return sdkCountries{countrylookup.New()} }

func (c sdkCountries) Country(ip string) (string, bool) { return c.table.LookupIp(ip) }

type differential struct {
	t       *testing.T
	options eval.Options

	rows, differing, unexplained int
	used                         map[string]int // splits, by how many probes they account for

	payloadsCompared, givenUp int // client payloads; those that the SDK could not make
}

// compare asks both evaluators for every entity and every user of a project.
func (d *differential) compare(p *project) {
	body, err := json.Marshal(p.specs)
	if err != nil {
		d.t.Fatal(err)
	}
	specs, err := eval.ParseSpecs(body)
	if err != nil {
		d.t.Fatalf("ParseSpecs(our own body) = %v", err)
	}
	options := d.options
	options.IDLists = map[string]*eval.IDList{}
	for name, ids := range p.lists {
		hashed := make([]string, len(ids))
		for i, id := range ids {
			hashed[i] = eval.HashID(id)
		}
		options.IDLists[name] = eval.NewIDList(hashed)
	}
	rules := eval.Compile(specs, options)
	if q := rules.Quarantined(); len(q) > 0 {
		d.t.Fatalf("Quarantined() = %v, want none", q)
	}
	sdk := newGoSDK(d.t, body, p.lists)

	graph := newGraph(p)
	for number, user := range p.users {
		u := newSubject(user)
		blamed := map[string]bool{} // probes that differ for this user, with reason
		for _, ref := range graph.order {
			d.rows++
			theirs, ours := sdk.answer(&u, ref), ourAnswer(rules, &u, ref)
			diff := cmp.Diff(theirs.settled(), ours.settled(), cmpopts.EquateEmpty())
			if diff == "" {
				continue
			}
			d.differing++
			if c, isProbe := graph.probes[ref.Name]; isProbe {
				if s := explain(c, &user); s != nil {
					d.used[s.name]++
					blamed[ref.Name] = true
					continue
				}
			} else if graph.asks(ref, blamed) {
				continue
			}
			d.fail("%s %s differs for user %s (-SDK +ours):\n%s\nspec: %s",
				ref.Section, ref.Name, encoded(user), diff, encoded(graph.specs[ref]))
		}
		if number < payloadUsers {
			d.payloads(p, graph, sdk, rules, &u, blamed)
		}
		if d.unexplained >= tooMany {
			return
		}
	}
}

// A graph knows what each entity of a project asks, however far away.
type graph struct {
	order  []eval.Ref // probes first
	specs  map[eval.Ref]eval.Spec
	probes map[string]eval.Condition
	leads  map[eval.Ref]map[string]bool // entity → probes of all conditions that it may ask
}

func newGraph(p *project) *graph {
	g := &graph{specs: map[eval.Ref]eval.Spec{}, probes: map[string]eval.Condition{}, leads: map[eval.Ref]map[string]bool{}}
	for _, list := range [][]eval.Spec{p.specs.FeatureGates, p.specs.DynamicConfigs, p.specs.LayerConfigs} {
		for _, s := range list {
			g.specs[s.Ref()] = s
			g.order = append(g.order, s.Ref())
		}
	}
	for section := range eval.Section(3) {
		g.order = append(g.order, eval.Ref{Section: section, Name: "missing_" + section.String()})
	}
	for i, c := range p.pool {
		g.probes[p.probe[string(encoded(c))]] = p.pool[i]
	}
	for _, ref := range g.order { // what is referred to comes earlier
		leads := map[string]bool{}
		g.leads[ref] = leads
		for _, r := range g.specs[ref].Rules {
			for _, c := range r.Conditions {
				if probe, ok := p.probe[string(encoded(c))]; ok {
					leads[probe] = true
				}
				if strings.HasSuffix(c.Type, "_gate") {
					var name string
					if json.Unmarshal(c.TargetValue, &name) == nil {
						g.follow(leads, eval.Ref{Section: eval.Gates, Name: name})
					}
				}
			}
			if r.ConfigDelegate != "" {
				g.follow(leads, eval.Ref{Section: eval.Configs, Name: r.ConfigDelegate})
			}
		}
	}
	return g
}

func (g *graph) follow(leads map[string]bool, to eval.Ref) {
	for probe := range g.leads[to] {
		leads[probe] = true
	}
}

// asks reports whether an entity may ask one of the conditions.
func (g *graph) asks(ref eval.Ref, probes map[string]bool) bool {
	for probe := range probes {
		if g.leads[ref][probe] {
			return true
		}
	}
	return false
}
