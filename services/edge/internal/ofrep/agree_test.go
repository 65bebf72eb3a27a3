package ofrep

import (
	"bytes"
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/sluice-flags/sluice/internal/flagstest"
	protocol "github.com/sluice-flags/sluice/internal/ofrep"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/edge/internal/statsig"
)

// What a client's payload, and single checks, say of an entity.
type native struct {
	Value  json.RawMessage `json:"value"`
	RuleID string          `json:"rule_id"`
	Group  string          `json:"group_name"`
}

// Of random projects, a flag alone is what it is in the set, to the last member;
// and it is what a payload says, and a check. The promise in full, of all
// protocols over a running platform, is held by tests/contract/oneanswer.
func TestEveryEndpointGivesTheSameAnswer(t *testing.T) {
	for seed := range uint64(6) {
		p, w := flagstest.New(seed, 0), newWorld(t)
		w.Put(t, &flags.Environment{Name: "staging"})
		w.Put(t, &flags.Environment{Name: "development"})
		for _, d := range p.Documents {
			w.Put(t, d)
		}
		statsig.New(w.api.gate, w).Register(w.mux)
		client := w.Key(t, flags.KeyClient)
		for i := range 30 {
			u := p.User(i)
			u.StatsigEnvironment = nil // the key is for one
			var payload map[string]json.RawMessage
			res := w.ask("POST", "/v1/initialize", client, string(mustJSON(t, map[string]any{"user": u, "hash": "none"})))
			payload = decode[map[string]json.RawMessage](t, res)
			sections := map[string]map[string]native{}
			for kind, section := range map[string]string{"gate": "feature_gates", "config": "dynamic_configs", "experiment": "dynamic_configs", "layer": "layer_configs"} {
				var entries map[string]native
				if err := json.Unmarshal(payload[section], &entries); err != nil {
					t.Fatal(err)
				}
				sections[kind] = entries
			}
			raw := mustJSON(t, u)
			members := string(raw[1 : len(raw)-1])
			set, _ := w.all(client, members)
			if got, want := len(set.Flags), len(sections["gate"])+len(sections["config"])+len(sections["layer"]); got != want || got == 0 {
				t.Fatalf("seed %d: the set has %d flags, the payload %d", seed, got, want)
			}
			for _, f := range set.Flags {
				single := w.ask("POST", protocol.PathFlags+"/"+url.PathEscape(f.Key), client, contextOf(members))
				if alone := decode[protocol.Evaluation](t, single); f.ErrorCode != "" {
					if u.UserID != "" || single.Code != 400 || alone.ErrorCode != f.ErrorCode {
						t.Errorf("seed %d: %s for {%s} failed with %s in the set, %d %s alone", seed, f.Key, members, f.ErrorCode, single.Code, single.Body)
					}
					continue
				} else if got, want := mustJSON(t, alone), mustJSON(t, f); !bytes.Equal(got, want) {
					t.Errorf("seed %d: %s for {%s} alone is %s, in the set %s", seed, f.Key, members, got, want)
				}
				name := strings.TrimPrefix(f.Key, f.Metadata.Kind+":")
				n, ok := sections[f.Metadata.Kind][name]
				if !ok { // a name that begins like an exact key
					name = f.Key
					n = sections[f.Metadata.Kind][name]
				}
				if !f.Metadata.Deferred && !sameJSON(t, n.Value, f.Value) || n.RuleID != f.Metadata.RuleID || f.Metadata.Kind != "gate" && n.Group != f.Metadata.GroupName {
					t.Errorf("seed %d: %s for {%s} is %s by %s, %q; the payload has %s by %s, %q", seed, f.Key, members,
						f.Value, f.Metadata.RuleID, f.Metadata.GroupName, n.Value, n.RuleID, n.Group)
				}
				if f.Metadata.Kind != "gate" {
					continue
				}
				check := decode[native](t, w.ask("POST", "/v1/check_gate", client, string(mustJSON(t, map[string]any{"user": u, "gateName": name}))))
				if !sameJSON(t, check.Value, n.Value) || check.RuleID != f.Metadata.RuleID {
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
