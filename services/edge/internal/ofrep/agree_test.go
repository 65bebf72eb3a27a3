package ofrep

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"testing"

	protocol "github.com/sluice-flags/sluice/internal/ofrep"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/edge/internal/statsig"
)

// A dice draws projects and users.
type dice struct{ *rand.Rand }

func (d dice) one(from ...string) string { return from[d.IntN(len(from))] }

func (d dice) condition() flags.Condition {
	switch d.IntN(6) {
	case 0:
		return flags.Condition{Type: "custom_field", Field: "plan", Operator: d.one("any", "none"), TargetValue: json.RawMessage(`["pro","free"]`)}
	case 1:
		return flags.Condition{Type: "custom_field", Field: "seats", Operator: d.one("gt", "lte"), TargetValue: json.RawMessage(fmt.Sprint(d.IntN(10)))}
	case 2:
		return flags.Condition{Type: "country", Operator: "any", TargetValue: json.RawMessage(`["DE","US"]`)}
	case 3:
		return flags.Condition{Type: "email", Operator: "str_ends_with_any", TargetValue: json.RawMessage(`["@example.com"]`)}
	case 4:
		return flags.Condition{Type: "passes_gate", TargetValue: json.RawMessage(`"base"`)}
	}
	return flags.Condition{Type: "public"}
}

func (d dice) rules(value func() json.RawMessage) []flags.Rule {
	out := make([]flags.Rule, d.IntN(4))
	for i := range out {
		r := flags.Rule{ID: fmt.Sprintf("r%d", i), Name: fmt.Sprintf("Rule %d", i), PassPercentage: []float64{0, 10, 50, 100}[d.IntN(4)]}
		for range 1 + d.IntN(2) {
			r.Conditions = append(r.Conditions, d.condition())
		}
		if value != nil {
			r.Value = value()
		}
		out[i] = r
	}
	return out
}

func (d dice) object() json.RawMessage {
	return json.RawMessage(fmt.Sprintf(`{"color":%q,"size":%d,"nested":{"on":%v}}`, d.one("red", "green"), d.IntN(100), d.IntN(2) == 0))
}

// project fills a world.
func (d dice) project(w *world) {
	w.Put(w.t, &flags.Holdout{Name: "held out", Share: float64(d.IntN(50))})
	w.Put(w.t, w.Gate("base", half())) // which the others may ask
	units := []string{"userID", "companyID"}
	for i := range 12 {
		g := w.Gate(fmt.Sprintf("gate %d", i), d.rules(nil)...)
		g.UnitType = d.one(units...)
		g.Status = flags.Status(d.one("inProgress", "inProgress", "inProgress", "launched", "disabled"))
		if d.IntN(4) == 0 {
			g.Overrides = map[string]flags.Overrides{"userID": {Pass: []string{"u1"}, Fail: []string{"u2"}}}
		}
		if d.IntN(4) == 0 {
			g.Holdouts = []string{"held out"}
		}
		w.Put(w.t, g)
	}
	for i := range 8 {
		c := w.Config(fmt.Sprintf("config %d", i), string(d.object()), d.rules(d.object)...)
		c.UnitType = d.one(units...)
		w.Put(w.t, c)
	}
	w.Put(w.t, &flags.Layer{Name: "layer", UnitType: "userID", Parameters: json.RawMessage(`{"color":"none","size":0}`)})
	for i := range 4 {
		x := experiment(w.Project, fmt.Sprintf("x%d", i))
		x.Allocation = []float64{0, 30, 50, 100}[d.IntN(4)]
		if i%2 == 0 {
			x.Layer, x.Allocation = "layer", 30
		}
		x.TargetingRules = d.rules(nil)
		if d.IntN(2) == 0 {
			x.Holdouts = []string{"held out"}
		}
		w.Put(w.t, x)
	}
}

// user draws a user, as a context and as the user object of other endpoints.
func (d dice) user() (context, user map[string]any) {
	context, user = map[string]any{}, map[string]any{}
	custom, ids := map[string]any{}, map[string]any{}
	if d.IntN(5) > 0 {
		id := fmt.Sprintf("u%d", d.IntN(40))
		context["targetingKey"], user["userID"] = id, id
	}
	if d.IntN(2) == 0 {
		context["companyID"], ids["companyID"] = "acme", "acme"
	}
	if d.IntN(2) == 0 {
		context["plan"] = d.one("pro", "free", "none")
		custom["plan"] = context["plan"]
	}
	if d.IntN(2) == 0 {
		context["seats"] = d.IntN(12)
		custom["seats"] = context["seats"]
	}
	if d.IntN(2) == 0 {
		context["country"] = d.one("DE", "US", "FR")
		user["country"] = context["country"]
	}
	if d.IntN(2) == 0 {
		context["EMAIL"] = d.one("ann@example.com", "bob@example.org")
		user["email"] = context["EMAIL"]
	}
	user["custom"], user["customIDs"] = custom, ids
	return context, user
}

// What a client's payload, and single checks, say of an entity.
type native struct {
	Value  json.RawMessage `json:"value"`
	RuleID string          `json:"rule_id"`
	Group  string          `json:"group_name"`
}

func TestEveryEndpointGivesTheSameAnswer(t *testing.T) {
	for seed := range uint64(6) {
		d := dice{rand.New(rand.NewPCG(seed, 1))}
		w := newWorld(t)
		d.project(w)
		statsig.New(w.api.gate, w).Register(w.mux)
		client := w.Key(t, flags.KeyClient)
		for range 30 {
			context, user := d.user()
			members := string(bytes.Trim(mustJSON(t, context), "{}"))
			var payload map[string]json.RawMessage
			res := w.ask("POST", "/v1/initialize", client, string(mustJSON(t, map[string]any{"user": user, "hash": "none"})))
			payload = decode[map[string]json.RawMessage](t, res)
			sections := map[string]map[string]native{}
			for kind, section := range map[string]string{"gate": "feature_gates", "config": "dynamic_configs", "experiment": "dynamic_configs", "layer": "layer_configs"} {
				var entries map[string]native
				if err := json.Unmarshal(payload[section], &entries); err != nil {
					t.Fatal(err)
				}
				sections[kind] = entries
			}
			set, _ := w.all(client, members)
			if want := 1 + 12 + 8 + 1 + 4; len(set.Flags) != want {
				t.Fatalf("the set has %d flags, want %d", len(set.Flags), want)
			}
			for _, f := range set.Flags {
				single := w.ask("POST", protocol.PathFlags+"/"+url.PathEscape(f.Key), client, contextOf(members))
				if alone := decode[protocol.Evaluation](t, single); f.ErrorCode != "" {
					if context["targetingKey"] != nil || single.Code != 400 || alone.ErrorCode != f.ErrorCode {
						t.Errorf("seed %d: %s for {%s} failed with %s in the set, %d %s alone", seed, f.Key, members, f.ErrorCode, single.Code, single.Body)
					}
					continue
				} else if got, want := mustJSON(t, alone), mustJSON(t, f); !bytes.Equal(got, want) {
					t.Errorf("seed %d: %s for {%s} alone is %s, in the set %s", seed, f.Key, members, got, want)
				}
				n := sections[f.Metadata.Kind][f.Key]
				if !sameJSON(t, n.Value, f.Value) || n.RuleID != f.Metadata.RuleID || f.Metadata.Kind != "gate" && n.Group != f.Metadata.GroupName {
					t.Errorf("seed %d: %s for {%s} is %s by %s, %q; the payload has %s by %s, %q", seed, f.Key, members,
						f.Value, f.Metadata.RuleID, f.Metadata.GroupName, n.Value, n.RuleID, n.Group)
				}
				if f.Metadata.Kind != "gate" {
					continue
				}
				check := decode[native](t, w.ask("POST", "/v1/check_gate", client, string(mustJSON(t, map[string]any{"user": user, "gateName": f.Key}))))
				if string(check.Value) != string(f.Value) || check.RuleID != f.Metadata.RuleID {
					t.Errorf("seed %d: %s for {%s} is %s by %s; check_gate says %s by %s", seed, f.Key, members, f.Value, f.Metadata.RuleID, check.Value, check.RuleID)
				}
			}
		}
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func sameJSON(t *testing.T, a, b json.RawMessage) bool {
	t.Helper()
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	return bytes.Equal(mustJSON(t, x), mustJSON(t, y))
}
