package flags_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/sluice-flags/sluice/pkg/flags"
)

func TestAdvanceKnowsARuleAgainWithoutItsID(t *testing.T) {
	p := newProject(t)
	gate := func(document string) *flags.Gate {
		t.Helper()
		return p.put(flags.KindGate, document).(*flags.Gate)
	}
	first := gate(`{"id":"gate_1","name":"g","salt":"old","rules":[
		{"name":"Staff","environments":null,"passPercentage":100,"conditions":[{"type":"email","operator":"non_null"}]},
		{"environments":null,"passPercentage":10,"salt":"drawn","conditions":[{"type":"public"}]}]}`)
	if first.Rules[0].ID == "" || first.Rules[0].ID == first.Rules[1].ID || first.Rules[0].Step != 1 {
		t.Fatalf("rules %+v; want ids of their own and step 1", first.Rules)
	}
	// The same rules, reordered, one renamed in nothing, the other with another percentage.
	second := gate(`{"id":"gate_1","name":"g","rules":[
		{"environments":null,"passPercentage":20,"conditions":[{"type":"public"}]},
		{"name":"Staff","environments":null,"passPercentage":100,"conditions":[{"type":"email","operator":"is_null"}]},
		{"environments":null,"passPercentage":20,"conditions":[{"type":"public"}]}]}`)
	if got, want := second.Rules[0].ID, first.Rules[1].ID; got != want || second.Rules[0].Step != 2 {
		t.Errorf("the rule for everyone is %s at step %d; want %s at step 2", got, second.Rules[0].Step, want)
	}
	if got, want := second.Rules[1].ID, first.Rules[0].ID; got != want || second.Rules[1].Step != 1 {
		t.Errorf("the rule for staff is %s at step %d; want %s at step 1", got, second.Rules[1].Step, want)
	}
	if id := second.Rules[2].ID; id == first.Rules[0].ID || id == first.Rules[1].ID {
		t.Errorf("a third rule took the id %s of another", id)
	}
	if second.Salt != "old" || second.Rules[0].Salt != "drawn" {
		t.Errorf("the salts became %q and %q; want them kept", second.Salt, second.Rules[0].Salt)
	}
	// What the author says of steps does not count.
	third := gate(`{"id":"gate_1","name":"g","rules":[{"id":"` + second.Rules[0].ID + `","environments":null,"passPercentage":20,"step":77,"conditions":[{"type":"public"}]}]}`)
	if third.Rules[0].Step != 2 {
		t.Errorf("step %d with the percentage as it was; want 2", third.Rules[0].Step)
	}
}

func TestAdvanceTakesGroupsByTheirNames(t *testing.T) {
	p := newProject(t)
	x := p.put(flags.KindExperiment, `{"name":"e","allocation":100,"overrides":{"userID":{"Blue":["u1"]}},"groups":[
		{"name":"Red","share":50,"parameters":{}},{"name":"Blue","share":50,"parameters":{}}]}`).(*flags.Experiment)
	if got := x.Overrides["userID"][x.Groups[1].ID]; !slices.Equal(got, []string{"u1"}) {
		t.Errorf("overrides %v; want u1 in %s", x.Overrides, x.Groups[1].ID)
	}
	if !x.Groups[0].Control || x.Groups[1].Control {
		t.Errorf("groups %+v; want the first as control", x.Groups)
	}
	again := p.put(flags.KindExperiment, `{"id":"`+x.ID+`","name":"e","allocation":100,"groups":[
		{"name":"Red","share":50,"parameters":{}},{"name":"blue","share":50,"parameters":{}}]}`).(*flags.Experiment)
	if again.Groups[0].ID != x.Groups[0].ID || again.Groups[1].ID != x.Groups[1].ID {
		t.Errorf("groups %+v; want the ids of %+v", again.Groups, x.Groups)
	}
}

func TestNewIDsAreLawfulAndSortByTime(t *testing.T) {
	last := ""
	for _, kind := range flags.Kinds() {
		if kind == flags.KindIDs {
			continue // batches are numbered
		}
		id := flags.NewID(kind.IDPrefix())
		if !kind.ValidID(id) {
			t.Errorf("NewID(%s) = %q; want a lawful id", kind.IDPrefix(), id)
		}
		stamp := strings.TrimPrefix(id, kind.IDPrefix())[:9]
		if stamp < last {
			t.Errorf("NewID(%s) = %q sorts before the one made earlier", kind.IDPrefix(), id)
		}
		last = stamp
	}
}

func TestSplitRuleIDUndoesTheWireForm(t *testing.T) {
	for _, test := range []struct {
		wire    string
		rule    string
		percent float64
		step    int
		ok      bool
	}{
		{"rule_7:10.00:3", "rule_7", 10, 3, true},
		{"rule_7:33.33:1", "rule_7", 33.33, 1, true},
		{"default", "default", 0, 0, false},
		{"gate_1:override", "gate_1:override", 0, 0, false},
		{"g1:userID:id_override", "g1:userID:id_override", 0, 0, false},
	} {
		rule, percent, step, ok := flags.SplitRuleID(test.wire)
		if rule != test.rule || percent != test.percent || step != test.step || ok != test.ok {
			t.Errorf("SplitRuleID(%q) = %q, %v, %d, %v; want %q, %v, %d, %v", test.wire, rule, percent, step, ok, test.rule, test.percent, test.step, test.ok)
		}
	}
}

func TestAMetricIsVerifiedUntilItMeasuresSomethingElse(t *testing.T) {
	p := newProject(t)
	put := func(rest string) bool {
		t.Helper()
		return p.put(flags.KindMetric, `{"id": "met_v", "name": "buyers", "type": "event_user", "event": "buy", "verified": true`+rest+`}`).(*flags.Metric).Verified
	}
	if put("") {
		t.Error("a new metric is verified; want nobody to have vouched for it yet")
	}
	if !put("") {
		t.Error("a metric whose definition is the same cannot be verified")
	}
	for _, tc := range []struct {
		document string
		want     bool
	}{
		{`{"id": "met_v", "name": "customers", "description": "who buys", "tags": ["shop"], "type": "event_user", "event": "buy", "verified": true}`, true},
		{`{"id": "met_v", "name": "buyers", "type": "event_user", "event": "buy", "status": "archived", "verified": true}`, true},
		{`{"id": "met_v", "name": "buyers", "type": "event_user", "event": "buy"}`, false},
		{`{"id": "met_v", "name": "buyers", "type": "event_user", "event": "pay", "verified": true}`, false},
		{`{"id": "met_v", "name": "buyers", "type": "event_user", "event": "buy", "windowHours": 24, "verified": true}`, false},
		{`{"id": "met_v", "name": "buyers", "type": "event_user", "event": "buy", "direction": "decrease", "verified": true}`, false},
	} {
		d, problems := p.try(flags.KindMetric, tc.document)
		if len(problems) > 0 || d.(*flags.Metric).Verified != tc.want {
			t.Errorf("after a verified metric, %s: verified = %t, %v; want %t", tc.document, d.(*flags.Metric).Verified, problems, tc.want)
		}
	}
}
