package ofrep

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	protocol "github.com/sluice-flags/sluice/internal/ofrep"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/edge/internal/edgetest"
)

// half is the rule that passes for half of all units.
func half() flags.Rule {
	r := edgetest.Everyone()
	r.ID, r.Name, r.PassPercentage = "half", "Half", 50
	return r
}

// pro is the rule that passes for users of a plan.
func pro() flags.Rule {
	return flags.Rule{ID: "pro", Name: "Pro users", PassPercentage: 100,
		Conditions: []flags.Condition{{Type: "custom_field", Field: "plan", Operator: "any", TargetValue: json.RawMessage(`["pro"]`)}}}
}

func with(r flags.Rule, value string) flags.Rule {
	r.Value = json.RawMessage(value)
	return r
}

// experiment returns a running experiment of two halves on button.
func experiment(p *edgetest.Project, name string) *flags.Experiment {
	started := time.Now().Add(-time.Hour)
	return &flags.Experiment{
		Name: name, Status: flags.ExperimentRunning, StartedAt: &started, UnitType: "userID", Allocation: 100, Salt: "salt-of-" + name,
		Groups: []flags.Group{
			{ID: "grp_" + name + "_c", Name: "Control", Share: 50, Parameters: json.RawMessage(`{"color":"grey","size":1}`), Control: true},
			{ID: "grp_" + name + "_t", Name: "Treatment", Share: 50, Parameters: json.RawMessage(`{"color":"blue","size":2}`)},
		},
	}
}

func TestOutcomesInTheWordsOfTheProtocol(t *testing.T) {
	w := newWorld(t)
	key := w.Key(t, flags.KeyServer)
	w.Put(t, &flags.Holdout{Name: "quiet quarter", Share: 100})
	gate := func(name string, edit func(*flags.Gate), rules ...flags.Rule) {
		g := w.Gate(name, rules...)
		if edit != nil {
			edit(g)
		}
		w.Put(t, g)
	}
	config := func(name string, edit func(*flags.Config), rules ...flags.Rule) {
		c := w.Config(name, `{"text":"default","n":0}`, rules...)
		if edit != nil {
			edit(c)
		}
		w.Put(t, c)
	}
	run := func(name string, edit func(*flags.Experiment)) {
		x := experiment(w.Project, name)
		if edit != nil {
			edit(x)
		}
		w.Put(t, x)
	}
	gate("disabled", func(g *flags.Gate) { g.Status = flags.StatusDisabled }, edgetest.Everyone())
	gate("killed", func(g *flags.Gate) { g.OffIn = []string{"production"} }, edgetest.Everyone())
	gate("launched", func(g *flags.Gate) { g.Status = flags.StatusLaunched })
	gate("overridden", func(g *flags.Gate) {
		g.Overrides = map[string]flags.Overrides{"userID": {Pass: []string{"ann"}, Fail: []string{"bob"}}}
	}, edgetest.Nobody())
	gate("targeted", nil, pro(), edgetest.Nobody())
	gate("split", nil, half())
	gate("open", nil, edgetest.Everyone())
	gate("shut", nil, edgetest.Nobody())
	gate("unmatched", nil, pro())
	gate("held", func(g *flags.Gate) { g.Holdouts = []string{"quiet quarter"} }, edgetest.Everyone())
	gate("deferred", func(g *flags.Gate) { g.DeferToCode = true }, edgetest.Everyone())
	config("off config", func(c *flags.Config) { c.Status = flags.StatusDisabled }, with(edgetest.Everyone(), `{"text":"on"}`))
	config("launched config", func(c *flags.Config) { c.Status = flags.StatusLaunched }, with(edgetest.Everyone(), `{"text":"on"}`))
	config("targeted config", nil, with(pro(), `{"text":"pro","n":7}`))
	config("open config", nil, with(edgetest.Everyone(), `{"text":"on","n":1.5,"gone":null}`))
	config("deferred config", func(c *flags.Config) { c.DeferToCode = true }, with(edgetest.Everyone(), `{"text":"on"}`))
	run("running", nil)
	run("overridden_x", func(x *flags.Experiment) {
		x.Overrides = map[string]map[string][]string{"userID": {x.Groups[1].ID: {"ann"}}}
	})
	run("draft", func(x *flags.Experiment) { x.Status, x.StartedAt = flags.ExperimentDraft, nil })
	run("untargeted", func(x *flags.Experiment) { x.TargetingRules = []flags.Rule{pro()} })
	run("unallocated", func(x *flags.Experiment) { x.Allocation = 0 })
	run("decided", nil)
	e, _ := w.State().ByName(flags.KindExperiment, "decided")
	x, ended := flags.Clone(e.Doc).(*flags.Experiment), time.Now()
	x.Status, x.EndedAt, x.Decision = flags.ExperimentDecided, &ended, &flags.Decision{Group: x.Groups[1].ID}
	w.Put(t, x)
	w.Put(t, &flags.Layer{Name: "home", UnitType: "userID", Parameters: json.RawMessage(`{"color":"none","size":0}`)})
	run("inside", func(x *flags.Experiment) { x.Layer = "home" })
	w.Put(t, &flags.Layer{Name: "empty", UnitType: "userID", Parameters: json.RawMessage(`{"color":"none"}`)})

	type want struct {
		value, variant string
		reason         protocol.Reason
		override       bool
		holdout        string
	}
	for _, c := range []struct {
		flag, context string
		want
	}{
		{"disabled", ``, want{"false", "off", protocol.Disabled, false, ""}},
		{"killed", ``, want{"false", "off", protocol.Disabled, false, ""}},
		{"launched", ``, want{"true", "on", protocol.Static, false, ""}},
		{"overridden", `"targetingKey":"ann"`, want{"true", "on", protocol.TargetingMatch, true, ""}},
		{"overridden", `"targetingKey":"bob"`, want{"false", "off", protocol.TargetingMatch, true, ""}},
		{"targeted", `"plan":"pro"`, want{"true", "on", protocol.TargetingMatch, false, ""}},
		{"targeted", `"plan":"free"`, want{"false", "off", protocol.TargetingMatch, false, ""}},
		{"split", `"targetingKey":"u1"`, want{"", "", protocol.Split, false, ""}},
		{"open", ``, want{"true", "on", protocol.Static, false, ""}},
		{"shut", ``, want{"false", "off", protocol.Static, false, ""}},
		{"unmatched", ``, want{"false", "off", protocol.Default, false, ""}},
		{"held", `"targetingKey":"u1"`, want{"false", "off", protocol.Split, false, "quiet quarter"}},
		{"deferred", ``, want{"-", "on", protocol.Static, false, ""}},
		{"off config", ``, want{`{"text":"default","n":0}`, "default", protocol.Disabled, false, ""}},
		{"launched config", ``, want{`{"text":"on"}`, "default", protocol.Static, false, ""}},
		{"targeted config", `"plan":"pro"`, want{`{"text":"pro","n":7}`, "Pro users", protocol.TargetingMatch, false, ""}},
		{"targeted config", ``, want{`{"text":"default","n":0}`, "default", protocol.Default, false, ""}},
		{"open config", ``, want{`{"text":"on","n":1.5,"gone":null}`, "Everyone", protocol.Static, false, ""}},
		{"config:open config:text", ``, want{`"on"`, "Everyone", protocol.Static, false, ""}},
		{"config:open config:n", ``, want{`1.5`, "Everyone", protocol.Static, false, ""}},
		{"config:open config:gone", ``, want{`-`, "Everyone", protocol.Static, false, ""}},
		{"deferred config", ``, want{"-", "Everyone", protocol.Static, false, ""}},
		{"running", `"targetingKey":"u1"`, want{"", "", protocol.Split, false, ""}},
		{"overridden_x", `"targetingKey":"ann"`, want{`{"color":"blue","size":2}`, "Treatment", protocol.TargetingMatch, true, ""}},
		{"draft", `"targetingKey":"u1"`, want{"{}", "default", protocol.Default, false, ""}},
		{"untargeted", `"targetingKey":"u1"`, want{"{}", "default", protocol.Default, false, ""}},
		{"unallocated", `"targetingKey":"u1"`, want{"{}", "default", protocol.Default, false, ""}},
		{"decided", ``, want{`{"color":"blue","size":2}`, "Treatment", protocol.Static, false, ""}},
		{"home", `"targetingKey":"u1"`, want{"", "", protocol.Split, false, ""}},
		{"empty", ``, want{`{"color":"none"}`, "default", protocol.Default, false, ""}},
		{"layer:empty:color", ``, want{`"none"`, "default", protocol.Default, false, ""}},
	} {
		e := w.one(key, strings.ReplaceAll(c.flag, " ", "%20"), c.context)
		got := want{string(e.Value), e.Variant, e.Reason, e.Metadata.Override, e.Metadata.Holdout}
		if e.Value == nil {
			got.value = "-"
		}
		if c.want.variant == "" { // chance decides which
			c.want.value, c.want.variant = got.value, got.variant
			if e.Variant != "on" && e.Variant != "off" && e.Variant != "Control" && e.Variant != "Treatment" {
				t.Errorf("%s for {%s}: variant %q; want one of a real split", c.flag, c.context, e.Variant)
			}
		}
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(want{})); diff != "" {
			t.Errorf("%s for {%s} (-want +got):\n%s", c.flag, c.context, diff)
		}
		if e.Key != c.flag || e.Metadata.Kind == "" || e.Metadata.RuleID == "" || e.Metadata.Version == 0 {
			t.Errorf("%s: key %q, metadata %+v; want the key as asked, and kind, rule and version", c.flag, e.Key, e.Metadata)
		}
	}
	if e := w.one(key, "home", `"targetingKey":"u1"`); e.Metadata.Experiment != "inside" || e.Metadata.GroupName != e.Variant {
		t.Errorf("a layer's metadata %+v, variant %q; want the experiment and its group", e.Metadata, e.Variant)
	}
}

func TestWhatTheEvaluatorCannotAnswerIsUnknown(t *testing.T) {
	w := newWorld(t)
	key := w.Key(t, flags.KeyServer)
	g := w.Gate("broken", pro())
	g.Rules[0].Conditions[0].Type = "telepathy" // of a newer version, say
	w.Put(t, g, w.Gate("fine", edgetest.Everyone()))
	e := w.one(key, "broken", ``)
	if string(e.Value) != "false" || e.Reason != protocol.Unknown || e.Variant != "" {
		t.Errorf("a flag with an unknown condition = %+v; want false, UNKNOWN and no variant", e)
	}
}

func TestOnlyFlagsThatHungOnAUnitFailWithoutOne(t *testing.T) {
	w := newWorld(t)
	key := w.Key(t, flags.KeyClient)
	company := half()
	company.ID = "company"
	g := w.Gate("by company", company)
	g.UnitType = "companyID"
	excepted := w.Gate("excepted", edgetest.Everyone())
	excepted.Overrides = map[string]flags.Overrides{"userID": {Fail: []string{"bob"}}}
	w.Put(t, w.Gate("open", edgetest.Everyone()))
	w.Put(t, w.Gate("split", half()))
	w.Put(t, w.Gate("listed", edgetest.Only("ann")))
	w.Put(t, w.Gate("pro split", func() flags.Rule { r := pro(); r.PassPercentage = 50; return r }()))
	w.Put(t, g)
	w.Put(t, excepted)
	w.Put(t, experiment(w.Project, "running"))

	failed := func(members string) (keys []string) {
		set, _ := w.all(key, members)
		for _, f := range set.Flags {
			single := w.ask("POST", protocol.PathFlags+"/"+strings.ReplaceAll(f.Key, " ", "%20"), key, contextOf(members))
			if f.ErrorCode == "" {
				if single.Code != 200 {
					t.Errorf("%s for {%s} answered %d alone and an evaluation in the set", f.Key, members, single.Code)
				}
				continue
			}
			keys = append(keys, f.Key)
			if f.ErrorCode != protocol.TargetingKeyMissing || f.Value != nil || f.ErrorDetails == "" {
				t.Errorf("item %+v; want TARGETING_KEY_MISSING without a value", f)
			}
			alone := decode[protocol.Evaluation](t, single)
			if single.Code != 400 || alone.ErrorCode != f.ErrorCode || alone.Key != f.Key {
				t.Errorf("%s alone = %d %s; want 400 and the same error", f.Key, single.Code, single.Body)
			}
		}
		return keys
	}
	for _, c := range []struct {
		context string
		want    []string
	}{
		{``, []string{"by company", "listed", "running", "split"}},
		{`"plan":"pro"`, []string{"by company", "listed", "pro split", "running", "split"}},
		{`"companyID":"acme"`, []string{"listed", "running", "split"}},
		{`"targetingKey":"u1","plan":"pro"`, nil},
		{`"targetingKey":""`, []string{"by company", "listed", "running", "split"}},
	} {
		if diff := cmp.Diff(c.want, failed(c.context)); diff != "" {
			t.Errorf("flags that failed for {%s} (-want +got):\n%s", c.context, diff)
		}
	}
}
