package flags_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/pkg/flags"
)

func TestMergeKeepsWhatBothDidAndNamesWhereTheyCollide(t *testing.T) {
	const (
		a  = `{"id":"rule_a","name":"A","passPercentage":10,"step":1,"conditions":[{"type":"public"}]}`
		b  = `{"id":"rule_b","name":"B","passPercentage":20,"step":1,"conditions":[{"type":"public"}]}`
		c  = `{"id":"rule_c","name":"C","passPercentage":30,"step":1,"conditions":[{"type":"public"}]}`
		d  = `{"id":"rule_d","name":"D","passPercentage":40,"step":1,"conditions":[{"type":"public"}]}`
		a2 = `{"id":"rule_a","name":"A","passPercentage":50,"step":2,"conditions":[{"type":"public"}]}`
		a3 = `{"id":"rule_a","name":"<all>","passPercentage":10,"step":1,"conditions":[{"type":"public"}]}`
		a4 = `{"id":"rule_a","name":"<all>","passPercentage":50,"step":2,"conditions":[{"type":"public"}]}`
		a5 = `{"id":"rule_a","name":"A","passPercentage":60,"step":3,"conditions":[{"type":"public"}]}`
	)
	gate := func(rules, rest string) string {
		return `{"id":"gate_1","name":"g","salt":"s","unitType":"userID","rules":[` + rules + `]` + rest + `}`
	}
	rules := func(all ...string) string { return strings.Join(all, ",") }
	for _, tc := range []struct {
		name               string
		base, mine, theirs string
		want               string // empty: conflicts
		conflicts          []string
	}{
		{name: "other members", base: gate(a, ``), mine: gate(a, `,"team":"x"`), theirs: gate(a, `,"owner":"y"`), want: gate(a, `,"team":"x","owner":"y"`)},
		{name: "the same change", base: gate(a, ``), mine: gate(a, `,"team":"x"`), theirs: gate(a, `,"team":"x"`), want: gate(a, `,"team":"x"`)},
		{name: "one member", base: gate(a, ``), mine: gate(a, `,"team":"x"`), theirs: gate(a, `,"team":"y"`), conflicts: []string{"/team"}},
		{name: "a member taken away and changed", base: gate(a, `,"team":"x"`), mine: gate(a, ``), theirs: gate(a, `,"team":"y"`), conflicts: []string{"/team"}},
		{name: "other rules", base: gate(rules(a, b), ``), mine: gate(rules(a2, b), ``), theirs: gate(a, ``), want: gate(a2, ``)},
		{name: "other members of a rule", base: gate(a, ``), mine: gate(a3, ``), theirs: gate(a2, ``), want: gate(a4, ``)},
		{name: "and the other way", base: gate(a, ``), mine: gate(a2, ``), theirs: gate(a3, ``), want: gate(a4, ``)},
		{name: "one member of a rule", base: gate(a, ``), mine: gate(a2, ``), theirs: gate(a5, ``), conflicts: []string{"/rules/rule_a/passPercentage"}},
		{name: "a rule taken away and changed", base: gate(rules(a, b), ``), mine: gate(b, ``), theirs: gate(rules(a2, b), ``), conflicts: []string{"/rules/rule_a"}},
		{name: "rules that both add", base: gate(rules(a, b), ``), mine: gate(rules(a, c, b), ``), theirs: gate(rules(d, a, b), ``), want: gate(rules(d, a, c, b), ``)},
		{name: "an order, and another rule", base: gate(rules(a, b), ``), mine: gate(rules(b, a), ``), theirs: gate(rules(a, b, c), ``), want: gate(rules(b, c, a), ``)},
		{name: "two orders", base: gate(rules(a, b, c), ``), mine: gate(rules(b, a, c), ``), theirs: gate(rules(a, c, b), ``), conflicts: []string{"/rules"}},
		{name: "overrides of other types of unit", base: gate(a, `,"overrides":{"userID":{"pass":["u"]}}`),
			mine:   gate(a, `,"overrides":{"userID":{"pass":["u","v"]}}`),
			theirs: gate(a, `,"overrides":{"userID":{"pass":["u"]},"step":{"fail":["w"]}}`),
			want:   gate(a, `,"overrides":{"userID":{"pass":["u","v"]},"step":{"fail":["w"]}}`)},
		{name: "the first overrides, of two types", base: gate(a, ``), mine: gate(a, `,"overrides":{"userID":{"pass":["u"]}}`),
			theirs: gate(a, `,"overrides":{"stableID":{"pass":["v"]}}`), want: gate(a, `,"overrides":{"stableID":{"pass":["v"]},"userID":{"pass":["u"]}}`)},
		{name: "overrides of one type taken away, another added", base: gate(a, `,"overrides":{"userID":{"pass":["u"]}}`), mine: gate(a, ``),
			theirs: gate(a, `,"overrides":{"stableID":{"pass":["v"]},"userID":{"pass":["u"]}}`), want: gate(a, `,"overrides":{"stableID":{"pass":["v"]}}`)},
		{name: "overrides of one type", base: gate(a, `,"overrides":{"step":{"pass":["u"]}}`), mine: gate(a, `,"overrides":{"step":{"pass":["v"]}}`),
			theirs: gate(a, `,"overrides":{"step":{"pass":["w"]}}`), conflicts: []string{"/overrides/step"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			read := func(text string) flags.Document {
				doc, err := flags.Decode(flags.KindGate, []byte(text))
				if err != nil {
					t.Fatalf("Decode(%s) = %v", text, err)
				}
				return doc
			}
			got, conflicts := flags.Merge(read(tc.base), read(tc.mine), read(tc.theirs))
			if diff := cmp.Diff(tc.conflicts, conflicts); diff != "" {
				t.Errorf("Merge() of\n%s\n%s\n%s\nconflicts (-want +got):\n%s", tc.base, tc.mine, tc.theirs, diff)
			}
			if tc.want == "" {
				if got != nil {
					t.Errorf("Merge() with conflicts = %v; want nil", got)
				}
				return
			}
			if diff := cmp.Diff(read(tc.want), got); diff != "" {
				t.Errorf("Merge() of\n%s\n%s\n%s\n(-want +got):\n%s", tc.base, tc.mine, tc.theirs, diff)
			}
		})
	}
}

func TestMergeOfExperimentsLeavesToTheStateWhatFollowsFromIt(t *testing.T) {
	const (
		rule = `{"id":"rule_%s","name":"%[1]s","passPercentage":10,"step":1,"conditions":[{"type":"public"}]}`
		rest = `"id":"exp_1","name":"e","unitType":"userID","salt":"s","status":"running","layer":"l","groups":[]`
	)
	read := func(members string) flags.Document {
		t.Helper()
		doc, err := flags.Decode(flags.KindExperiment, []byte(`{`+rest+members+`}`))
		if err != nil {
			t.Fatal(err)
		}
		return doc
	}
	ruleOf := func(name string) string { return fmt.Sprintf(rule, name) }
	base := read(`,"allocation":10,"buckets":[[0,99]]`)
	mine := read(`,"allocation":20,"buckets":[[0,199]],"targetingRules":[` + ruleOf("a") + `]`)
	theirs := read(`,"allocation":10,"buckets":[[100,199]],"targetingRules":[` + ruleOf("b") + `]`)
	want := read(`,"allocation":20,"buckets":[[100,199]],"targetingRules":[` + ruleOf("a") + `,` + ruleOf("b") + `]`)
	got, conflicts := flags.Merge(base, mine, theirs)
	if diff := cmp.Diff(want, got); conflicts != nil || diff != "" {
		t.Errorf("Merge() has conflicts %q (-want +got):\n%s", conflicts, diff)
	}
}
