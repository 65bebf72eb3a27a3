package flags_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// experiment is a document with two equal groups that set the parameter p.
func experiment(name, more string) string {
	if more != "" {
		more = "," + more
	}
	return fmt.Sprintf(`{"name":%q,"allocation":100,"groups":[
		{"id":"control","name":"Control","share":50,"parameters":{"p":1}},
		{"id":"test","name":"Test","share":50,"parameters":{"p":2}}]%s}`, name, more)
}

// edit writes another version of an experiment.
func (p *project) edit(name string, change func(*flags.Experiment)) flags.Problems {
	p.t.Helper()
	e, ok := p.state.ByName(flags.KindExperiment, name)
	if !ok {
		p.t.Fatalf("there is no experiment %q", name)
	}
	x := flags.Clone(e.Doc).(*flags.Experiment)
	change(x)
	flags.Advance(p.state, x, testTime, p.newID)
	problems := flags.Validate(p.state, x)
	if len(problems) == 0 {
		p.write(x)
	}
	return problems
}

func TestAnExperimentDividesItsUnitsByShare(t *testing.T) {
	p := newProject(t)
	p.put(flags.KindExperiment, `{"name":"e","allocation":60,"status":"running","groups":[
		{"id":"a","name":"A","share":33.3,"parameters":{"p":1}},
		{"id":"b","name":"B","share":33.3,"parameters":{"p":2}},
		{"id":"c","name":"C","share":20,"parameters":{"p":3}}]}`)
	r, counts, n := p.rules(), map[string]int{}, 40_000
	for i := range n {
		got := r.Config(user(fmt.Sprint("u", i)), "e")
		counts[got.RuleID]++
		if !got.ExperimentActive {
			t.Fatal("a running experiment is not active")
		}
	}
	for rule, share := range map[string]float64{"layerAssignment": .4, "a": .6 * .333, "b": .6 * .333, "c": .6 * .2, "default": .6 * .134} {
		got, want := float64(counts[rule]), share*float64(n)
		if math.Abs(got-want) > 5*math.Sqrt(want) {
			t.Errorf("%v of %d units are at %q; want about %v", got, n, rule, want)
		}
	}
}

func TestAllocationGrowsWithoutMovingAnyone(t *testing.T) {
	for _, layer := range []bool{false, true} {
		p := newProject(t)
		more := `"status":"running"`
		if layer {
			p.put(flags.KindLayer, `{"name":"l","parameters":{"p":0}}`)
			p.put(flags.KindExperiment, experiment("first", `"layer":"l","status":"running"`))
			if problems := p.edit("first", func(x *flags.Experiment) { x.Allocation = 12.5 }); len(problems) > 0 {
				t.Fatal(problems)
			}
			more += `,"layer":"l"`
		}
		d, problems := p.try(flags.KindExperiment, experiment("e", more+`,"tags":["x"]`))
		if d != nil && layer && len(problems) == 0 {
			t.Error("100 % of a layer that has 87.5 % left was accepted")
		}
		p.put(flags.KindExperiment, `{"name":"e","allocation":20,"groups":[
			{"id":"control","name":"Control","share":50,"parameters":{"p":1}},
			{"id":"test","name":"Test","share":50,"parameters":{"p":2}}],`+more+`}`)
		before := p.rules()
		if problems := p.edit("e", func(x *flags.Experiment) { x.Allocation = 80 }); len(problems) > 0 {
			t.Fatal(problems)
		}
		after := p.rules()
		if layer {
			problems := p.edit("e", func(x *flags.Experiment) { x.Allocation = 90 })
			if len(problems) != 1 || problems[0].Pointer != "/allocation" || !strings.Contains(problems[0].Message, "87.5 %") {
				t.Errorf("90 %% of a layer with room for 87.5 %%: %v; want that said at /allocation", problems)
			}
		}
		in := 0
		for i := range 5000 {
			u := user(fmt.Sprint("u", i))
			was, is := before.Config(u, "e"), after.Config(u, "e")
			if was.InExperiment && was.RuleID != is.RuleID {
				t.Fatalf("layer %v: %s moved from %q to %q", layer, u.UserID, was.RuleID, is.RuleID)
			}
			if is.InExperiment {
				in++
			}
		}
		if in < 3850 || in > 4150 {
			t.Errorf("layer %v: %d of 5000 units take part; want about 4000", layer, in)
		}
	}
}

func TestExperimentsOfALayerShareNoUnit(t *testing.T) {
	p := newProject(t)
	p.put(flags.KindLayer, `{"name":"l","parameters":{"p":0,"q":"x"}}`)
	p.put(flags.KindExperiment, `{"name":"one","layer":"l","allocation":40,"status":"running","groups":[
		{"id":"c1","name":"C","share":50,"parameters":{"p":1}},{"id":"t1","name":"T","share":50,"parameters":{"p":2}}]}`)
	p.put(flags.KindExperiment, `{"name":"two","layer":"l","allocation":60,"status":"running",
		"overrides":{"userID":{"T":["vip"]}},"groups":[
		{"id":"c2","name":"C","share":50,"parameters":{"q":"y"}},{"id":"t2","name":"T","share":50,"parameters":{"q":"z"}}]}`)
	r := p.rules()
	for i := range 2000 {
		u := user(fmt.Sprint("u", i))
		one, two, layer := r.Config(u, "one"), r.Config(u, "two"), r.Layer(u, "l")
		if one.InExperiment == two.InExperiment {
			t.Fatalf("%s is in %q of one and %q of two; want exactly one of them", u.UserID, one.RuleID, two.RuleID)
		}
		in := one
		if two.InExperiment {
			in = two
		}
		if layer.RuleID != in.RuleID || string(layer.Value) != string(in.Value) {
			t.Fatalf("Layer(%s) = %s by %q; want %s by %q", u.UserID, layer.Value, layer.RuleID, in.Value, in.RuleID)
		}
		if value := asMap(t, layer.Value); len(value) != 2 {
			t.Fatalf("Layer(%s) = %s; want every parameter", u.UserID, layer.Value)
		}
	}
	if got := r.Layer(user("vip"), "l"); got.RuleID != "t2:userID:id_override" || got.AllocatedExperiment != "two" {
		t.Errorf("Layer(vip) = %q of %q; want the override into two", got.RuleID, got.AllocatedExperiment)
	}
}

func TestTheLifeOfAnExperimentDecidesItsValues(t *testing.T) {
	p := newProject(t)
	p.put(flags.KindLayer, `{"name":"l","parameters":{"p":0}}`)
	p.put(flags.KindExperiment, experiment("e", `"layer":"l","overrides":{"userID":{"test":["vip"]}}`))
	expect := func(stage string, u, rule, value string, active bool) {
		t.Helper()
		got := p.rules().Config(user(u), "e")
		if got.RuleID != rule || string(got.Value) != value || got.ExperimentActive != active {
			t.Errorf("%s: Config(%s) = %s by %q, active %v; want %s by %q, active %v", stage, u, got.Value, got.RuleID, got.ExperimentActive, value, rule, active)
		}
	}
	expect("draft", "u1", "prestart", `{"p":0}`, false)
	expect("draft", "vip", "test:userID:id_override", `{"p":2}`, false)

	if problems := p.edit("e", func(x *flags.Experiment) { x.Status = flags.ExperimentRunning }); len(problems) > 0 {
		t.Fatal(problems)
	}
	if got := p.rules().Layer(user("u1"), "l"); !got.InExperiment {
		t.Errorf("running: Layer(u1) = %s by %q; want a group", got.Value, got.RuleID)
	}
	if problems := p.edit("e", func(x *flags.Experiment) {
		x.Status, x.Decision = flags.ExperimentDecided, &flags.Decision{Group: "Test", Note: "won"}
	}); len(problems) > 0 {
		t.Fatal(problems)
	}
	expect("decided", "u1", "test", `{"p":2}`, false)
	if got := p.rules().Layer(user("u1"), "l"); string(got.Value) != `{"p":2}` || got.RuleID != "default" {
		t.Errorf("decided: Layer(u1) = %s by %q; want the shipped parameters as defaults", got.Value, got.RuleID)
	}
	if problems := p.edit("e", func(x *flags.Experiment) { x.Status = flags.ExperimentArchived }); len(problems) > 0 {
		t.Fatal(problems)
	}
	if got := p.rules().Config(user("u1"), "e"); got.Found {
		t.Errorf("archived: Config(u1) = %s by %q; want it unknown", got.Value, got.RuleID)
	}
	if got := p.rules().Layer(user("u1"), "l"); string(got.Value) != `{"p":0}` {
		t.Errorf("archived: Layer(u1) = %s; want the layer's own default", got.Value)
	}
}

func TestTargetingKeepsOthersAtTheDefault(t *testing.T) {
	p := newProject(t)
	p.put(flags.KindGate, when("nz", `{"type":"country","operator":"any","targetValue":["NZ"]}`))
	p.put(flags.KindExperiment, experiment("e", `"status":"running","targetingGate":"nz","targetingRules":[
		{"environments":["production"],"passPercentage":100,"conditions":[{"type":"email","operator":"non_null"}]},
		{"environments":null,"passPercentage":100,"conditions":[{"type":"custom_field","field":"vip","operator":"any","targetValue":[true]}]}]`))
	for _, test := range []struct {
		environment string
		user        eval.User
		rule        string // "" for a group
	}{
		{"production", eval.User{UserID: "u", Country: "AU", Email: "e"}, "targetingGate"},
		{"production", eval.User{UserID: "u", Country: "NZ"}, "inlineTargetingRules"},
		{"production", eval.User{UserID: "u", Country: "NZ", Email: "e"}, ""},
		{"staging", eval.User{UserID: "u", Country: "NZ", Email: "e"}, "inlineTargetingRules"},
		{"staging", eval.User{UserID: "u", Country: "NZ", Custom: map[string]any{"vip": true}}, ""},
	} {
		got := p.rules(test.environment).Config(&test.user, "e")
		if got.InExperiment != (test.rule == "") || test.rule != "" && got.RuleID != test.rule {
			t.Errorf("Config(%+v) in %s is at %q, in experiment %v; want %q", test.user, test.environment, got.RuleID, got.InExperiment, test.rule)
		}
		for _, x := range got.SecondaryExposures() {
			if x.Gate != "nz" {
				t.Errorf("the exposure names %q; want the hidden segment to stay hidden", x.Gate)
			}
		}
	}
}

func TestArmTellsGroupsFromEverythingElse(t *testing.T) {
	p := newProject(t)
	x := p.put(flags.KindExperiment, experiment("e", "")).(*flags.Experiment)
	for _, test := range []struct {
		rule     string
		index    int
		override bool
		ok       bool
	}{
		{"control", 0, false, true},
		{"test", 1, false, true},
		{"test:userID:id_override", 1, true, true},
		{"layerAssignment", 0, false, false},
		{"prestart", 0, false, false},
		{"", 0, false, false},
		{"gone:userID:id_override", 0, true, false},
	} {
		index, override, ok := x.Arm(test.rule)
		if ok != test.ok || ok && (index != test.index || override != test.override) {
			t.Errorf("Arm(%q) = %d, %v, %v; want %d, %v, %v", test.rule, index, override, ok, test.index, test.override, test.ok)
		}
	}
}

func TestBucketsOfALayerAreNeverOwnedTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := newProject(t)
		p.put(flags.KindLayer, `{"name":"l","parameters":{"p":0}}`)
		for i := range 4 {
			p.put(flags.KindExperiment, fmt.Sprintf(`{"name":"e%d","layer":"l","allocation":0,"status":"running","groups":[
				{"name":"C","share":50,"parameters":{"p":1}},{"name":"T","share":50,"parameters":{"p":2}}]}`, i))
		}
		for step := range 20 {
			name := fmt.Sprint("e", rapid.IntRange(0, 3).Draw(t, "which"))
			want := float64(rapid.IntRange(0, 1000).Draw(t, "tenths")) / 10
			p.edit(name, func(x *flags.Experiment) { x.Allocation = want }) // refused if there is no room
			var owners [flags.Buckets]string
			for e := range p.state.All(flags.KindExperiment) {
				x := e.Doc.(*flags.Experiment)
				n := 0
				for _, r := range x.Buckets {
					for b := r[0]; b < r[1]; b++ {
						if owners[b] != "" {
							t.Fatalf("step %d: bucket %d belongs to %s and %s", step, b, owners[b], x.Name)
						}
						owners[b] = x.Name
						n++
					}
				}
				if float64(n) != math.Round(x.Allocation*10) {
					t.Fatalf("step %d: %s owns %d buckets with an allocation of %v %%", step, x.Name, n, x.Allocation)
				}
			}
		}
	})
}
