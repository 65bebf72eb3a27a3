package flags_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/sluice-flags/sluice/pkg/flags"
)

func TestDiffSpeaksOfWhatWasDone(t *testing.T) {
	const base = `{"id":"gate_1","name":"g","description":"d","rules":[
		{"id":"a","environments":null,"passPercentage":10,"conditions":[{"type":"public"}]},
		{"id":"b","environments":null,"passPercentage":20,"conditions":[{"type":"public"}]}]}`
	for _, test := range []struct {
		after string
		want  []string // op, path, before, after
	}{
		{base, nil},
		{`{"id":"gate_1","name":"h","owner":"o","status":"launched","salt":"s","rules":[
			{"id":"a","environments":null,"passPercentage":10,"conditions":[{"type":"public"}]},
			{"id":"b","environments":null,"passPercentage":20,"conditions":[{"type":"public"}]}]}`, []string{
			`gate.setDescription /description "d" → `, `gate.rename /name "g" → "h"`, `gate.setOwner /owner  → "o"`,
			`gate.setStatus /status "inProgress" → "launched"`, `gate.resalt /salt  → "s"`,
		}},
		{`{"id":"gate_1","name":"g","description":"d","offIn":["production"],"overrides":{"userID":{"pass":["u"]}},"rules":[
			{"id":"a","name":"A","environments":["staging"],"passPercentage":15,"conditions":[{"type":"email","operator":"non_null"}],"disabled":true},
			{"id":"b","environments":null,"passPercentage":20,"conditions":[{"type":"public"}]}]}`, []string{
			`rule.update /rules/a/name  → "A"`, `rule.setEnvironments /rules/a/environments null → ["staging"]`,
			`rule.setPassPercentage /rules/a/passPercentage 10 → 15`,
			`rule.setConditions /rules/a/conditions [{"type":"public"}] → [{"type":"email","operator":"non_null"}]`,
			`rule.disable /rules/a/disabled  → true`,
			`override.set /overrides/userID  → {"pass":["u"]}`, `gate.setOffIn /offIn  → ["production"]`,
		}},
		{`{"id":"gate_1","name":"g","description":"d","rules":[
			{"id":"b","environments":null,"passPercentage":20,"conditions":[{"type":"public"}]},
			{"id":"c","environments":null,"passPercentage":1,"conditions":[{"type":"public"}]},
			{"id":"a","environments":null,"passPercentage":10,"conditions":[{"type":"public"}]}]}`, []string{
			`rule.add /rules/c@1  → {"id":"c","environments":null,"passPercentage":1,"conditions":[{"type":"public"}]}`,
			`rule.move /rules ["a","b"] → ["b","a"]`,
		}},
		{`{"id":"gate_1","name":"g","description":"d","status":"archived","rules":[
			{"id":"b","environments":null,"passPercentage":20,"conditions":[{"type":"public"}]}]}`, []string{
			`gate.archive /status "inProgress" → "archived"`,
			`rule.remove /rules/a@0 {"id":"a","environments":null,"passPercentage":10,"conditions":[{"type":"public"}]} → `,
		}},
	} {
		before, err := flags.Decode(flags.KindGate, []byte(base))
		if err != nil {
			t.Fatal(err)
		}
		after, err := flags.Decode(flags.KindGate, []byte(test.after))
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, o := range flags.Diff(before, after) {
			place := ""
			if o.Index != nil {
				place = fmt.Sprint("@", *o.Index)
			}
			got = append(got, fmt.Sprintf("%s %s%s %s → %s", o.Op, o.Path, place, o.Before, o.After))
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("Diff() to %s (-want +got):\n%s", test.after, diff)
		}
	}
}

func TestDiffOfAWholeLife(t *testing.T) {
	p := newProject(t)
	p.put(flags.KindExperiment, experiment("e", ""))
	draft, _ := p.state.ByName(flags.KindExperiment, "e")
	if ops := flags.Diff(nil, draft.Doc); len(ops) != 1 || ops[0].Op != "experiment.create" || string(ops[0].After) != string(draft.Raw) {
		t.Errorf("Diff(nil, draft) = %+v; want one creation with the document", ops)
	}
	if ops := flags.Diff(draft.Doc, nil); len(ops) != 1 || ops[0].Op != "experiment.delete" || string(ops[0].Before) != string(draft.Raw) {
		t.Errorf("Diff(draft, nil) = %+v; want one deletion with the document", ops)
	}
	p.edit("e", func(x *flags.Experiment) { x.Status = flags.ExperimentRunning })
	running, _ := p.state.ByName(flags.KindExperiment, "e")
	ops := flags.Diff(draft.Doc, running.Doc)
	if len(ops) != 2 || ops[0].Op != "experiment.start" || ops[1].Op != "experiment.setStartedAt" {
		t.Errorf("Diff(draft, running) = %+v; want the start and its time", ops)
	}
}

func TestDocumentsDifferExactlyWhenTheyHaveOperationsBetweenThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &mutator{project: newProject(t), t: t}
		for range 10 {
			before := m.state
			for _, ref := range m.step() {
				was, _ := before.Get(ref)
				is, _ := m.state.Get(ref)
				ops := flags.Diff(was.Doc, is.Doc)
				if same := string(was.Raw) == string(is.Raw); same != (len(ops) == 0) {
					t.Fatalf("Diff() = %+v between\n%s\n%s", ops, was.Raw, is.Raw)
				}
			}
		}
	})
}
