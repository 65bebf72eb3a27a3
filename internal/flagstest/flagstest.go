// Package flagstest draws random projects, as people may define them, and users
// of whom some meet any condition of theirs. Tests hold what answers in one place
// to what answers in another with it.
//
// Equal seeds draw equal projects, whose units fall into equal buckets: salts and
// the ids of rules and groups are drawn too, and nothing hangs on the ids that an
// entity is given when it is stored. What it draws is valid, and means one thing
// to every SDK. Odd inputs, about which SDKs differ among themselves, are left to
// the tests of the evaluator.
package flagstest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/sluice-flags/sluice/pkg/flags"
)

// How many of each there are.
const (
	segments    = 5
	gates       = 14
	configs     = 8
	experiments = 7
)

// A Project is what is defined in a project. Its environments are those that a
// new project has: development, staging and production.
type Project struct {
	dice
	// Documents are all definitions, each after those that it refers to.
	Documents []flags.Document
	// Members are the ids on the lists of segments that have one, by name.
	Members map[string][]string

	gates, segments, holdouts []string // names that others may refer to
	referred                  map[string]bool
}

// A Change is an edit of a project, all of it valid after what was there before.
type Change struct {
	Documents []flags.Document // next versions of documents, whole and without ids
	Deleted   []flags.Document // nobody refers to them
	// Added and Removed are members of id lists, by the name of the segment.
	Added, Removed map[string][]string
}

// New draws a project; each seed has many, by number.
func New(seed uint64, number int) *Project {
	p := &Project{
		dice:    dice{rand.New(rand.NewPCG(seed, uint64(number)))},
		Members: map[string][]string{}, referred: map[string]bool{},
	}
	for i := range segments {
		p.add(p.segment(name(p, "segment", i), i >= 3))
	}
	for i := range 2 {
		p.add(&flags.Holdout{Name: name(p, "holdout", i), UnitType: p.unit(), Salt: p.salt("holdout", i), Share: one[float64](p.dice, 5, 20, 50)})
	}
	for i := range gates {
		p.add(p.gate(name(p, "gate", i), p.salt("gate", i)))
	}
	for i := range configs {
		p.add(p.config(name(p, "config", i), p.salt("config", i)))
	}
	p.add(p.layer("layer one", 0))
	p.add(p.layer(nameOf[*flags.Config](p, 0), 1)) // which others may have too
	for i := range experiments {
		p.add(p.experiment(name(p, "experiment", i), i))
	}
	p.gateOfTheSameName()
	return p
}

// add puts a document at the end, where later ones may refer to it.
func (p *Project) add(d flags.Document) {
	p.Documents = append(p.Documents, d)
	switch d := d.(type) {
	case *flags.Gate:
		p.gates = append(p.gates, d.Name)
	case *flags.Segment:
		p.segments = append(p.segments, d.Name)
	case *flags.Holdout:
		p.holdouts = append(p.holdouts, d.Name)
	}
}

// gateOfTheSameName gives a gate the name of an experiment: SDKs ask for a kind,
// and so tell them apart.
func (p *Project) gateOfTheSameName() {
	p.add(p.gate(nameOf[*flags.Experiment](p, 0), "shared"))
}

// name draws a name in one of the forms that are allowed.
func name(p *Project, kind string, i int) string {
	return fmt.Sprintf(one(p.dice, "%s_%02d", "%s_%02d", "%s %02d", "%s.%02d", "%s:%02d", "The-%s-%d"), kind, i)
}

// nameOf returns the name of the nth document of a type.
func nameOf[D flags.Document](p *Project, n int) string {
	for _, d := range p.Documents {
		if d, ok := d.(D); ok {
			if n == 0 {
				return d.DocName()
			}
			n--
		}
	}
	return ""
}

func (p *Project) salt(kind string, i int) string {
	return fmt.Sprintf("%s-%d-%x", kind, i, p.Uint32())
}

func (p *Project) unit() string {
	return one(p.dice, "userID", "userID", "userID", "companyID", "stableID")
}

// apps draws for which apps something is.
func (p *Project) apps() []string {
	return one(p.dice, nil, []string{"web"}, []string{"web", "ios"}, []string{"ios"})
}

func (p *Project) heldOut() []string {
	if !p.percent(25) {
		return nil
	}
	return []string{p.refer(one(p.dice, p.holdouts...))}
}

// refer notes that something refers to a name.
func (p *Project) refer(name string) string {
	p.referred[name] = true
	return name
}

func (p *Project) segment(name string, list bool) *flags.Segment {
	s := &flags.Segment{Name: name, Type: flags.SegmentRules, UnitType: p.unit(), Salt: name}
	if list {
		s.Type = flags.SegmentIDList
		p.Members[name] = some(p.dice, idsOf(s.UnitType)...)
		return s
	}
	s.Rules = p.rules(nil)
	return s
}

func (p *Project) gate(name, salt string) *flags.Gate {
	g := &flags.Gate{
		Name: name, UnitType: p.unit(), Salt: salt, TargetApps: p.apps(), Holdouts: p.heldOut(),
		Status:      one(p.dice, flags.StatusInProgress, flags.StatusInProgress, flags.StatusInProgress, flags.StatusInProgress, flags.StatusLaunched, flags.StatusDisabled),
		DeferToCode: p.percent(10), OffIn: one(p.dice, nil, nil, nil, []string{"staging"}, []string{"production", "development"}),
		Rules: p.rules(nil),
	}
	if p.percent(15) {
		g.ClientVisible = new(false)
	}
	if p.percent(40) {
		ids := p.shuffled(idsOf("userID"))
		o := flags.Overrides{Pass: ids[:2], Fail: ids[2:4]}
		if p.percent(50) {
			o.Environments = map[string]flags.PassFail{"staging": {Pass: ids[3:5], Fail: ids[:1]}}
		}
		g.Overrides = map[string]flags.Overrides{"userID": o}
		if p.percent(50) {
			g.Overrides["companyID"] = flags.Overrides{Fail: []string{"acme"}}
		}
	}
	return g
}

func (p *Project) config(name, salt string) *flags.Config {
	c := &flags.Config{
		Name: name, UnitType: p.unit(), Salt: salt, TargetApps: p.apps(), Holdouts: p.heldOut(),
		Status:      one(p.dice, flags.StatusInProgress, flags.StatusInProgress, flags.StatusInProgress, flags.StatusDisabled),
		DeferToCode: p.percent(10), OffIn: one(p.dice, nil, nil, nil, []string{"production"}, []string{"staging"}),
		DefaultValue: p.object(), Rules: p.rules(p.object),
	}
	if p.percent(15) {
		c.ClientVisible = new(false)
	}
	if len(c.Rules) == 1 && p.percent(30) {
		c.Status = flags.StatusLaunched
	}
	return c
}

func (p *Project) layer(name string, i int) *flags.Layer {
	return &flags.Layer{
		Name: name, UnitType: "userID", Salt: p.salt("layer", i), TargetApps: p.apps(), DeferToCode: p.percent(10),
		Parameters: p.parameters(), Holdouts: p.heldOut(),
	}
}

func (p *Project) experiment(name string, i int) *flags.Experiment {
	x := &flags.Experiment{
		Name: name, UnitType: p.unit(), Salt: p.salt("experiment", i), TargetApps: p.apps(), Holdouts: p.heldOut(),
		Status:      one(p.dice, flags.ExperimentRunning, flags.ExperimentRunning, flags.ExperimentRunning, flags.ExperimentDraft),
		DeferToCode: p.percent(10), Allocation: one[float64](p.dice, 0, 12.5, 60, 100),
	}
	if i%2 == 0 { // of four in two layers, all find room
		x.Layer, x.UnitType, x.Allocation = nameOf[*flags.Layer](p, i/2%2), "userID", one[float64](p.dice, 10, 33.3, 50)
	}
	shares := one(p.dice, []float64{50, 50}, []float64{33.3, 33.3, 33.4}, []float64{10, 80}, []float64{100, 0})
	for j, share := range shares {
		x.Groups = append(x.Groups, flags.Group{
			ID: fmt.Sprintf("x%d-%d", i, j), Name: fmt.Sprint(one(p.dice, "Arm ", "group-", "Größe "), j), Share: share, Parameters: p.parameters(),
		})
	}
	if p.percent(25) {
		x.TargetingGate = p.refer(one(p.dice, p.gates...))
	}
	if p.percent(40) {
		x.TargetingRules = p.rules(nil)
	}
	if p.percent(50) {
		ids := p.shuffled(idsOf("userID"))
		x.Overrides = map[string]map[string][]string{"userID": {x.Groups[0].ID: ids[:1], x.Groups[1].ID: ids[1:3]}}
		if p.percent(30) {
			x.Overrides["companyID"] = map[string][]string{x.Groups[1].ID: {"acme"}}
		}
	}
	return x
}

// rules draws rules, with values if value draws them.
func (p *Project) rules(value func() json.RawMessage) []flags.Rule {
	out := make([]flags.Rule, one(p.dice, 0, 1, 1, 2, 3))
	for i := range out {
		r := flags.Rule{
			ID: fmt.Sprintf("r%d_%x", i, p.Uint32()), Name: one(p.dice, "", "Rule <1> & co", "Règle"),
			PassPercentage: one[float64](p.dice, 0, 10, 33.33, 50, 99.99, 100, 100, 100), Disabled: p.percent(5),
			Environments: one(p.dice, nil, nil, nil, []string{"production"}, []string{"staging", "development"}),
		}
		for range one(p.dice, 1, 1, 2) {
			r.Conditions = append(r.Conditions, p.condition())
		}
		if value != nil {
			r.Value = value()
		}
		out[i] = r
	}
	return out
}

// object draws the value of a config.
func (p *Project) object() json.RawMessage {
	return one(p.dice,
		func() json.RawMessage { return json.RawMessage(`{}`) },
		func() json.RawMessage { return p.parameters() },
		func() json.RawMessage {
			return encoded(map[string]any{"nested": map[string]any{"on": p.percent(50), "list": []any{p.IntN(9), "x", nil, []any{}}}, "": "empty", "none": nil})
		},
		func() json.RawMessage {
			return json.RawMessage(fmt.Sprintf(`{"b":%d.50,"a":1e3,"far":12345678901,"text":"<b>\u2028é\"\\😀</b>"}`, p.IntN(100)))
		},
	)()
}

// parameters draws values for the parameters of layers and experiments.
func (p *Project) parameters() json.RawMessage {
	return encoded(map[string]any{
		"color": one(p.dice, "red", "grün", ""), "size": one[any](p.dice, 0, 12.5, -3), "on": p.percent(50),
		"tags": one(p.dice, []any{}, []any{"a", 1}),
	})
}

// Change draws an edit, which from then on is part of the project.
func (p *Project) Change() Change {
	c := Change{Added: map[string][]string{}, Removed: map[string][]string{}}
	for i := 0; i < len(p.Documents); i++ {
		before := p.Documents[i]
		if !p.percent(35) {
			continue
		}
		if g, ok := before.(*flags.Gate); ok && !p.referred[g.Name] && p.percent(20) {
			c.Deleted = append(c.Deleted, g)
			p.Documents = slices.Delete(p.Documents, i, i+1)
			i--
			continue
		}
		after := flags.Clone(before)
		p.edit(after, &c)
		p.Documents[i] = after
		c.Documents = append(c.Documents, after)
	}
	return c
}

// edit changes a document. Conditions that it draws ask no gates, and those of a
// segment no segments, so that no circle comes about.
func (p *Project) edit(d flags.Document, c *Change) {
	gates, segments := p.gates, p.segments
	defer func() { p.gates, p.segments = gates, segments }()
	p.gates = nil
	switch d := d.(type) {
	case *flags.Segment:
		if d.Type == flags.SegmentIDList {
			all := p.shuffled(idsOf(d.UnitType))
			c.Added[d.Name], c.Removed[d.Name] = all[:2], all[2:4]
			stay := slices.DeleteFunc(slices.Clone(p.Members[d.Name]), func(id string) bool { return slices.Contains(all[:4], id) })
			p.Members[d.Name] = append(stay, all[:2]...)
			break
		}
		p.segments = nil
		d.Rules = p.rules(nil)
	case *flags.Holdout:
		d.Share = one[float64](p.dice, 0, 10, 100)
	case *flags.Gate:
		if len(d.Rules) > 0 && p.percent(40) {
			d.Rules[0].PassPercentage = one[float64](p.dice, 0, 25, 100)
			break
		}
		d.Rules, d.DeferToCode = p.rules(nil), p.percent(10)
		d.Status = one(p.dice, flags.StatusInProgress, flags.StatusInProgress, flags.StatusLaunched, flags.StatusDisabled)
		if !p.referred[d.Name] && p.percent(20) {
			d.Status = flags.StatusArchived
		}
	case *flags.Config:
		d.DefaultValue, d.Rules = p.object(), p.rules(p.object)
		d.Status = one(p.dice, flags.StatusInProgress, flags.StatusInProgress, flags.StatusDisabled, flags.StatusArchived)
	case *flags.Layer:
		d.Parameters = p.parameters()
	case *flags.Experiment:
		switch {
		case d.Status == flags.ExperimentDraft:
			d.Status = flags.ExperimentRunning
		case d.Status == flags.ExperimentRunning && p.percent(60):
			d.Status, d.Decision = flags.ExperimentDecided, &flags.Decision{Group: d.Groups[p.IntN(2)].ID}
		case d.Status == flags.ExperimentRunning && d.Layer == "":
			d.Allocation = 100
		case d.Status == flags.ExperimentRunning:
			d.Status = flags.ExperimentAbandoned
		}
	}
}

// encoded is a value as JSON, which those drawn here always are.
func encoded(v any) json.RawMessage {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return raw
}
