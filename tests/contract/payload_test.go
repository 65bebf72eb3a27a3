package contract

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	statsig "github.com/statsig-io/go-sdk"

	"github.com/sluice-flags/sluice/pkg/eval"
)

// payloadUsers is how many users of a project get payloads.
const payloadUsers = 5

// payloads compares what both would send to a client on the user's behalf, for
// each way of hashing and each kind of key.
func (d *differential) payloads(p *project, g *graph, sdk *goSDK, rules *eval.Ruleset, u *subject, blamed map[string]bool) {
	for i, key := range []string{"", "client-web", "client-ios", "client-both", "client-few", "client-unheard-of"} {
		mode := eval.HashMode((i + len(u.ours.UserID)) % 3)
		theirs := sdk.client.GetClientInitializeResponseWithOptions(u.sdks, &statsig.GCIROptions{ClientKey: key, HashAlgorithm: mode.String()})
		if theirs.Time == 0 {
			d.givenUp++
			continue
		}
		if p.calm {
			d.payloadsCompared++
		}
		o := eval.ClientOptions{ClientKey: key, Hash: mode}
		want, got := decodedPayload(d.t, encoded(theirs)), decodedPayload(d.t, rules.AppendClient(nil, &u.ours, o))
		if diff := cmp.Diff(want.Rest, got.Rest); diff != "" {
			d.fail("payload for the key %q differs for user %s (-SDK +ours):\n%s", key, encoded(u.ours), diff)
		}
		for _, ref := range g.order {
			name := eval.HashName(mode, ref.Name)
			theirs, ours := want.Entries[ref.Section][name], got.Entries[ref.Section][name]
			settle(rules, u, ref, theirs, ours)
			diff := cmp.Diff(theirs, ours)
			if diff == "" || g.asks(ref, blamed) || blamed[ref.Name] {
				continue
			}
			// To go, layers of a payload are of the specs' own app, not of the key's.
			if ref.Section == eval.Layers && key != "client-web" && g.asks(ref, g.ofType("target_app")) {
				continue
			}
			d.fail("%s %s of the payload for the key %q differs for user %s (-SDK +ours):\n%s\nspec: %s",
				ref.Section, ref.Name, key, encoded(u.ours), diff, encoded(g.specs[ref]))
		}
	}
}

func (d *differential) fail(format string, args ...any) {
	d.t.Helper()
	if d.unexplained++; d.unexplained <= tooMany {
		d.t.Errorf(format, args...)
	}
}

// ofType returns the probes of the conditions of a type.
func (g *graph) ofType(typ string) map[string]bool {
	out := map[string]bool{}
	for name, c := range g.probes {
		if c.Type == typ {
			out[name] = true
		}
	}
	return out
}

// A clientPayload is an initialize response in parts.
type clientPayload struct {
	Entries [3]map[string]map[string]any
	Rest    map[string]any
}

// decodedPayload reads a response, without what is the sender's own: who made it.
func decodedPayload(t *testing.T, body []byte) (out clientPayload) {
	t.Helper()
	if err := json.Unmarshal(body, &out.Rest); err != nil {
		t.Fatalf("payload is not JSON: %v\n%s", err, body)
	}
	for section := range eval.Section(3) {
		out.Entries[section] = map[string]map[string]any{}
		entries, _ := out.Rest[section.String()].(map[string]any)
		for name, entry := range entries {
			out.Entries[section][name], _ = entry.(map[string]any)
		}
		delete(out.Rest, section.String())
	}
	for _, own := range []string{"generator", "sdkInfo"} {
		delete(out.Rest, own)
	}
	for _, member := range []string{"user", "evaluated_keys"} {
		object, _ := out.Rest[member].(map[string]any)
		maps.DeleteFunc(object, func(_ string, v any) bool { return isEmpty(v) })
	}
	return out
}

func isEmpty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case string:
		return v == ""
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	}
	return false
}

// settle leaves out of two entries what nobody may rely on, and what one of the
// two sends on purpose and the other does not.
func settle(rules *eval.Ruleset, u *subject, ref eval.Ref, theirs, ours map[string]any) {
	if theirs == nil || ours == nil {
		return
	}
	for _, member := range []string{"value", "explicit_parameters", "undelegated_secondary_exposures"} {
		for _, entry := range []map[string]any{theirs, ours} {
			if v, ok := entry[member]; ok && v == nil { // go's nil maps and lists
				entry[member] = map[bool]any{true: map[string]any{}, false: []any{}}[member == "value"]
			}
		}
	}
	if ref.Section == eval.Layers {
		delete(ours, "id_type") // of core and ours only
		if _, delegated := theirs["allocated_experiment_name"]; !delegated {
			delete(ours, "group_name") // go knows groups of delegates only
		}
	}
	if ourAnswer(rules, u, ref).Unsupported {
		for _, entry := range []map[string]any{theirs, ours} {
			maps.DeleteFunc(entry, func(member string, _ any) bool {
				return !slices.Contains([]string{"name", "value", "rule_id", "id_type", "is_device_based"}, member)
			})
		}
	}
}

// Gates that ask each other in a circle, and chains too deep, answer nobody; the
// rest of the project answers as if they were not there.
func TestCirclesAndDepthStopBothEvaluators(t *testing.T) {
	gate := func(name, asks string) eval.Spec {
		c := eval.Condition{Type: "pass_gate", TargetValue: encoded(asks), IDType: "userID"}
		if asks == "" {
			c = eval.Condition{Type: "public", IDType: "userID"}
		}
		return eval.Spec{
			Name: name, Type: "feature_gate", Entity: eval.EntityGate, Salt: name, Enabled: true, IDType: "userID", DefaultValue: encoded(false),
			Rules: []eval.Rule{{Name: "r", ID: "r", PassPercentage: 100, IDType: "userID", ReturnValue: encoded(true), Conditions: []eval.Condition{c}}},
		}
	}
	specs := eval.Specs{HasUpdates: true, Time: 1, FeatureGates: []eval.Spec{
		gate("self", "self"), gate("a", "b"), gate("b", "c"), gate("c", "a"), gate("outside", "a"), gate("link_0", ""), gate("fine", "link_50"),
	}}
	for i := range 400 {
		specs.FeatureGates = append(specs.FeatureGates, gate(fmt.Sprint("link_", i+1), fmt.Sprint("link_", i)))
	}
	body := encoded(specs)
	parsed, err := eval.ParseSpecs(body)
	if err != nil {
		t.Fatal(err)
	}
	rules, sdk, u := eval.Compile(parsed, eval.Options{}), newGoSDK(t, body, nil), newSubject(eval.User{UserID: "u"})
	for name, stopped := range map[string]bool{"self": true, "a": true, "b": true, "outside": true, "link_400": true, "fine": false, "link_30": false} {
		ref := eval.Ref{Section: eval.Gates, Name: name}
		theirs, ours := sdk.answer(&u, ref), ourAnswer(rules, &u, ref)
		if theirs.Crashed != stopped || ours.Unsupported != stopped || theirs.Pass != ours.Pass || theirs.RuleID != ours.RuleID {
			t.Errorf("%s: SDK %+v, ours %+v; want both stopped: %v, with one answer", name, theirs, ours, stopped)
		}
	}
}
