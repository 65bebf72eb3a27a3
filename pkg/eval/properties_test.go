package eval_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/sluice-flags/sluice/pkg/eval"
)

func TestEvaluationEqualsTheReference(t *testing.T) {
	now := time.UnixMilli(noon)
	rapid.Check(t, func(t *rapid.T) {
		specs := drawSpecs(t)
		rules := eval.Compile(specs, options(now))
		ref := reference{specs: specs, now: now, lists: map[string][]string{"vips": {eval.HashID("co1"), eval.HashID("user_1")}}}
		for range 5 {
			u := drawUser(t)
			for section, list := range [][]eval.Spec{specs.FeatureGates, specs.DynamicConfigs, specs.LayerConfigs} {
				for _, s := range list {
					want := ref.evaluate(list, s.Name, &u)
					decide := []func(*eval.User, string) eval.Result{rules.Gate, rules.Config, rules.Layer}[section]
					res := decide(&u, s.Name)
					got := refResult{
						RuleID: res.RuleID, Group: res.GroupName, Pass: res.Pass, Delegate: res.AllocatedExperiment,
						Unsupported: res.Reason == eval.ReasonUnsupported,
						Exposures:   res.SecondaryExposures(), Undelegated: res.UndelegatedSecondaryExposures(),
					}
					if section == int(eval.Gates) {
						want.Value = nil
					} else {
						got.Value = decode(res.Value)
					}
					if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
						t.Fatalf("%s for %+v differs from the reference (-want +got):\n%s", s.Name, u, diff)
					}
				}
			}
		}
	})
}

// payload decodes what a client would receive.
func payload(t *rapid.T, rules *eval.Ruleset, u *eval.User, o eval.ClientOptions) map[string]map[string]any {
	var all map[string]json.RawMessage
	body := rules.AppendClient(nil, u, o)
	if err := json.Unmarshal(body, &all); err != nil {
		t.Fatalf("AppendClient = %s: %v", body, err)
	}
	out := map[string]map[string]any{}
	for _, section := range []eval.Section{eval.Gates, eval.Configs, eval.Layers} {
		out[section.String()] = decode(all[section.String()]).(map[string]any)
	}
	return out
}

func TestAppliedChangesEqualCompilingAnew(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before, after := drawSpecs(t), drawSpecs(t)
		o := eval.ClientOptions{Hash: eval.HashMode(rapid.IntRange(0, 2).Draw(t, "hash"))}
		old := eval.Compile(before, options(time.UnixMilli(noon)))
		want := eval.Compile(after, options(time.UnixMilli(noon)))
		u := drawUser(t)
		oldPayload := payload(t, old, &u, o)

		change := eval.Change{Time: 2, Sequence: 7, Layers: after.Layers}
		var refs []eval.Ref
		names := map[eval.Ref]bool{}
		for _, list := range [][]eval.Spec{after.FeatureGates, after.DynamicConfigs, after.LayerConfigs} {
			for _, s := range list {
				change.Set = append(change.Set, s)
				names[s.Ref()] = true
				refs = append(refs, s.Ref())
			}
		}
		for _, list := range [][]eval.Spec{before.FeatureGates, before.DynamicConfigs, before.LayerConfigs} {
			for _, s := range list {
				if !names[s.Ref()] {
					change.Delete = append(change.Delete, s.Ref())
					refs = append(refs, s.Ref())
				}
			}
		}
		// In any order, and in two steps as well as in one.
		change.Set = rapid.Permutation(change.Set).Draw(t, "order")
		cut := rapid.IntRange(0, len(change.Set)).Draw(t, "cut")
		got := old.Apply(eval.Change{Time: 2, Set: change.Set[:cut], Layers: change.Layers}).
			Apply(eval.Change{Time: 2, Sequence: 7, Set: change.Set[cut:], Delete: change.Delete})

		if diff := cmp.Diff(payload(t, want, &u, o), payload(t, got, &u, o)); diff != "" {
			t.Fatalf("payload after Apply differs from that of Compile (-compiled +applied):\n%s", diff)
		}
		if diff := cmp.Diff(oldPayload, payload(t, old, &u, o)); diff != "" {
			t.Fatalf("Apply changed the ruleset that it was called on:\n%s", diff)
		}
		for _, section := range []eval.Section{eval.Gates, eval.Configs, eval.Layers} {
			if a, b := slices.Collect(want.Names(section)), slices.Collect(got.Names(section)); !slices.Equal(a, b) {
				t.Fatalf("Names(%s) = %q after Apply, want %q", section, b, a)
			}
		}
		// The difference that a live client gets, applied to what it has, is
		// what it would get anew.
		patched(oldPayload, got, &u, got.Dependents(refs...), o)
		if diff := cmp.Diff(payload(t, got, &u, o), oldPayload); diff != "" {
			t.Fatalf("old payload with the difference applied (-want +got):\n%s", diff)
		}
	})
}

// with returns specs with one of them replaced, or left out.
func with(s eval.Specs, changed eval.Spec, deleted bool) eval.Specs {
	for _, list := range []*[]eval.Spec{&s.FeatureGates, &s.DynamicConfigs, &s.LayerConfigs} {
		out := []eval.Spec{}
		for _, s := range *list {
			switch {
			case s.Ref() != changed.Ref():
				out = append(out, s)
			case !deleted:
				out = append(out, changed)
			}
		}
		*list = out
	}
	return s
}

// patched applies to a payload the entries of the refs, as a live client would.
func patched(old map[string]map[string]any, rules *eval.Ruleset, u *eval.User, refs []eval.Ref, o eval.ClientOptions) map[string]map[string]any {
	for _, ref := range refs {
		entry, name, ok := rules.AppendClientEntry(nil, u, ref, o)
		if ok {
			old[ref.Section.String()][name] = decode(entry)
		} else {
			delete(old[ref.Section.String()], name)
		}
	}
	return old
}

// One changed entity: the entries of its dependents are all the difference.
func TestDependentsAreTheWholeDifference(t *testing.T) {
	differing := 0
	rapid.Check(t, func(t *rapid.T) {
		specs := drawSpecs(t)
		all := slices.Concat(specs.FeatureGates, specs.DynamicConfigs, specs.LayerConfigs)
		changed := pick(t, "changed", all)
		deleted := false
		switch rapid.IntRange(0, 4).Draw(t, "change") {
		case 0:
			changed.Enabled = !changed.Enabled
		case 1:
			changed.DefaultValue = json.RawMessage(`{"n":42}`)
		case 2:
			changed.Rules = slices.Clone(changed.Rules)
			for i := range changed.Rules {
				changed.Rules[i].ConfigDelegate = pick(t, "delegate", []string{"", "config_0", "config_1", "config_2", "nothing"})
				changed.Rules[i].Conditions = nil
			}
		case 3:
			changed.HasSharedParams = new(changed.HasSharedParams == nil || !*changed.HasSharedParams)
		case 4:
			deleted = true
		}
		old := eval.Compile(specs, options(time.UnixMilli(noon)))
		change := eval.Change{Time: 2, Set: []eval.Spec{changed}}
		if deleted {
			change = eval.Change{Time: 2, Delete: []eval.Ref{changed.Ref()}}
		}
		next := old.Apply(change)
		u, o := drawUser(t), eval.ClientOptions{Hash: eval.HashMode(rapid.IntRange(0, 2).Draw(t, "hash"))}
		want := payload(t, eval.Compile(with(specs, changed, deleted), options(time.UnixMilli(noon))), &u, o)
		if diff := cmp.Diff(want, payload(t, next, &u, o)); diff != "" {
			t.Fatalf("payload after Apply of %v differs from that of Compile (-compiled +applied):\n%s", changed.Ref(), diff)
		}
		before := payload(t, old, &u, o)
		if !cmp.Equal(before, want) {
			differing++
		}
		dependents := append(old.Dependents(changed.Ref()), next.Dependents(changed.Ref())...)
		if diff := cmp.Diff(want, patched(before, next, &u, dependents, o)); diff != "" {
			t.Fatalf("old payload with the entries of %v, which depend on %v (-want +got):\n%s", dependents, changed.Ref(), diff)
		}
	})
	if differing == 0 {
		t.Error("no change ever made a difference, want many")
	}
}

// Time alone: only what hangs on a boundary that has passed differs.
func TestBoundariesNameTheWholeDifferenceThatTimeMakes(t *testing.T) {
	differing := 0
	rapid.Check(t, func(t *rapid.T) {
		now := time.UnixMilli(noon + pick(t, "from", []int64{-90_000_000, -2, -1, 0, 1}))
		o := options(now)
		o.Now = func() time.Time { return now }
		rules, u := eval.Compile(drawSpecs(t), o), drawUser(t)
		old := payload(t, rules, &u, eval.ClientOptions{})
		from := now
		now = now.Add(pick(t, "passed", []time.Duration{time.Millisecond, 2 * time.Millisecond, time.Hour, 48 * time.Hour}))
		want := payload(t, rules, &u, eval.ClientOptions{})
		if !cmp.Equal(old, want) {
			differing++
		}
		var refs []eval.Ref
		for at, due := rules.NextBoundary(from); !at.IsZero() && !at.After(now); at, due = rules.NextBoundary(at) {
			refs = append(refs, due...)
		}
		if diff := cmp.Diff(want, patched(old, rules, &u, rules.Dependents(refs...), eval.ClientOptions{})); diff != "" {
			t.Fatalf("payload of %v with the entries that boundaries until %v name (-want +got):\n%s", from, now, diff)
		}
	})
	if differing == 0 {
		t.Error("time never made a difference, want it to")
	}
}

// Members alone: only what asks the list differs.
func TestListDependentsAreTheWholeDifferenceThatMembersMake(t *testing.T) {
	differing := 0
	rapid.Check(t, func(t *rapid.T) {
		specs, u := drawSpecs(t), drawUser(t)
		asks := condition("unit_id", pick(t, "op", []string{"in_segment_list", "not_in_segment_list"}), "", "vips")
		asks.IDType = pick(t, "idType", []string{"userID", "companyID"})
		first := &specs.FeatureGates[0]
		first.Rules = append([]eval.Rule{rule("listed", 100, "true", asks)}, first.Rules...)
		old := eval.Compile(specs, options(time.UnixMilli(noon)))
		members := eval.NewIDList(nil)
		for _, id := range []string{u.UserID, u.CustomIDs["companyID"]} {
			if rapid.Bool().Draw(t, "member") {
				members = members.Add(eval.HashID(id))
			}
		}
		next := old.Apply(eval.Change{Time: 2, IDLists: map[string]*eval.IDList{"vips": members}})
		before, want := payload(t, old, &u, eval.ClientOptions{}), payload(t, next, &u, eval.ClientOptions{})
		if !cmp.Equal(before, want) {
			differing++
		}
		if diff := cmp.Diff(want, patched(before, next, &u, next.IDListDependents("vips"), eval.ClientOptions{})); diff != "" {
			t.Fatalf("old payload with the entries of what asks the list (-want +got):\n%s", diff)
		}
	})
	if differing == 0 {
		t.Error("members never made a difference, want them to")
	}
}

// listed decodes exposures as payloads show them.
func listed(list []eval.SecondaryExposure) []any {
	out := []any{}
	for _, x := range list {
		out = append(out, map[string]any{"gate": x.Gate, "gateValue": x.GateValue, "ruleID": x.RuleID})
	}
	return out
}

func TestPayloadsAgreeWithSingleChecks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		specs := drawSpecs(t)
		rules := eval.Compile(specs, options(time.UnixMilli(noon)))
		u := drawUser(t)
		entries := payload(t, rules, &u, eval.ClientOptions{Hash: eval.HashNone})
		for section, list := range [][]eval.Spec{specs.FeatureGates, specs.DynamicConfigs, specs.LayerConfigs} {
			decide := []func(*eval.User, string) eval.Result{rules.Gate, rules.Config, rules.Layer}[section]
			for _, s := range list {
				res := decide(&u, s.Name)
				got, _ := entries[eval.Section(section).String()][s.Name].(map[string]any)
				if got == nil {
					t.Fatalf("payload lacks %s", s.Name)
				}
				want := map[string]any{"name": s.Name, "rule_id": res.RuleID, "secondary_exposures": listed(res.SecondaryExposures())}
				switch eval.Section(section) {
				case eval.Gates:
					want["value"] = res.Pass
				case eval.Configs:
					if s.HasSharedParams == nil || !*s.HasSharedParams { // those are completed from their layer
						want["value"] = decode(res.Value)
					}
					want["passed"], want["is_user_in_experiment"], want["is_experiment_active"] = res.Pass, res.InExperiment, res.ExperimentActive
				case eval.Layers:
					want["value"], want["undelegated_secondary_exposures"] = decode(res.Value), listed(res.UndelegatedSecondaryExposures())
					if res.AllocatedExperiment != "" {
						want["allocated_experiment_name"], want["is_user_in_experiment"] = res.AllocatedExperiment, res.InExperiment
					}
				}
				for member, value := range want {
					if diff := cmp.Diff(value, got[member]); diff != "" {
						t.Fatalf("%s: %s differs (-decision +payload):\n%s", s.Name, member, diff)
					}
				}
			}
		}
	})
}

func TestRaisingAPercentageKeepsEverybodyWhoWasIn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		low := rapid.Float64Range(0, 100).Draw(t, "low")
		high := rapid.Float64Range(low, 100).Draw(t, "high")
		salt := rapid.String().Draw(t, "salt")
		at := func(percentage float64) *eval.Ruleset {
			return eval.Compile(eval.Specs{FeatureGates: []eval.Spec{gate("g", salt, rule("r", percentage, "true"))}}, eval.Options{})
		}
		before, after := at(low), at(high)
		for i := range 200 {
			u := eval.User{UserID: fmt.Sprint("u", i)}
			if before.Gate(&u, "g").Pass && !after.Gate(&u, "g").Pass {
				t.Fatalf("unit %s passes at %v %% and not at %v %%", u.UserID, low, high)
			}
		}
	})
}

func TestSharesAreWithinBinomialBoundsAndResaltingReshuffles(t *testing.T) {
	const units = 20_000
	at := func(percentage float64, salt string) *eval.Ruleset {
		return eval.Compile(eval.Specs{FeatureGates: []eval.Spec{gate("g", salt, rule("r", percentage, "true"))}}, eval.Options{})
	}
	for _, percentage := range []float64{0.5, 10, 33.33, 50, 90} {
		a, b := at(percentage, "first"), at(percentage, "second")
		var inA, inB, both float64
		for i := range units {
			u := eval.User{UserID: fmt.Sprint("unit-", i)}
			passA, passB := a.Gate(&u, "g").Pass, b.Gate(&u, "g").Pass
			inA += boolToFloat(passA)
			inB += boolToFloat(passB)
			both += boolToFloat(passA && passB)
		}
		p := percentage / 100
		check := func(what string, got, share float64) {
			// Five standard deviations: the hash is fixed, so this cannot flake.
			if bound := 5 * math.Sqrt(units*share*(1-share)); math.Abs(got-units*share) > bound {
				t.Errorf("%s at %v %%: %v of %d units, want %v ± %v", what, percentage, got, units, units*share, bound)
			}
		}
		check("first salt", inA, p)
		check("second salt", inB, p)
		check("both salts", both, p*p)
	}
}

func boolToFloat(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func TestTheFirstMatchingRuleDecides(t *testing.T) {
	specs := eval.Specs{DynamicConfigs: []eval.Spec{experiment("c", "s",
		rule("de", 100, `{"v":1}`, condition("user_field", "any", "country", []string{"DE"})),
		rule("pro", 0, `{"v":2}`, condition("user_field", "any", "plan", []string{"pro"})),
		rule("all", 100, `{"v":3}`))}}
	rules := eval.Compile(specs, eval.Options{})
	for _, test := range []struct {
		name string
		user eval.User
		rule string
		pass bool
	}{
		{"the first rule wins over later ones", eval.User{Country: "de", Custom: map[string]any{"plan": "pro"}}, "de", true},
		{"a failed percentage ends evaluation", eval.User{Custom: map[string]any{"plan": "pro"}}, "pro", false},
		{"others go on to the next", eval.User{}, "all", true},
	} {
		if got := rules.Config(&test.user, "c"); got.RuleID != test.rule || got.Pass != test.pass {
			t.Errorf("%s: Config = %s, %v; want %s, %v", test.name, got.RuleID, got.Pass, test.rule, test.pass)
		}
	}
}

// The usual salts and ids are hashed from a buffer; longer ones count in full too.
func TestEveryLetterOfSaltAndIDCounts(t *testing.T) {
	for _, salt := range []int{0, 1, 54, 126, 127, 128, 129, 300} {
		for _, id := range []int{0, 1, 73, 127, 128, 500} {
			u := eval.User{UserID: strings.Repeat("i", id)}
			sum := sha256.Sum256([]byte(strings.Repeat("s", salt) + "." + u.UserID))
			bucket := int(binary.BigEndian.Uint64(sum[:]) % 1000)
			from, to := condition("user_bucket", "gte", "", bucket), condition("user_bucket", "lt", "", bucket+1)
			from.AdditionalValues = map[string]any{"salt": strings.Repeat("s", salt)}
			to.AdditionalValues = from.AdditionalValues
			if !compile(gate("g", "s", rule("r", 100, "true", from, to))).Gate(&u, "g").Pass {
				t.Errorf("a salt of %d letters and an id of %d are not in bucket %d", salt, id, bucket)
			}
		}
	}
}
