package eval_test

import (
	"encoding/json"
	"fmt"
	"log"
	"sync/atomic"

	"github.com/sluice-flags/sluice/pkg/eval"
)

// A service keeps the current ruleset behind a pointer, decides from it, and
// applies changes to it as they come.
func Example() {
	specs, err := eval.ParseSpecs([]byte(`{
		"has_updates": true, "time": 1700000000000,
		"feature_gates": [{
			"name": "new_checkout", "type": "feature_gate", "entity": "feature_gate",
			"salt": "c0ffee", "enabled": true, "defaultValue": false, "idType": "userID",
			"rules": [{
				"name": "staff", "id": "staff", "passPercentage": 100, "returnValue": true, "idType": "userID",
				"conditions": [{"type": "user_field", "field": "email", "operator": "str_ends_with_any", "targetValue": ["@example.com"], "idType": "userID"}]
			}]
		}],
		"dynamic_configs": [{
			"name": "button", "type": "dynamic_config", "entity": "dynamic_config",
			"salt": "beef", "enabled": true, "defaultValue": {"color": "grey"}, "idType": "userID",
			"rules": [{
				"name": "beta", "id": "beta", "passPercentage": 100, "returnValue": {"color": "green"}, "idType": "userID",
				"conditions": [{"type": "pass_gate", "targetValue": "new_checkout", "idType": "userID"}]
			}]
		}],
		"layer_configs": []
	}`))
	if err != nil {
		log.Fatal(err)
	}
	var current atomic.Pointer[eval.Ruleset]
	current.Store(eval.Compile(specs, eval.Options{}))

	ann := eval.User{UserID: "u-42", Email: "ann@example.com"}
	gate := current.Load().Gate(&ann, "new_checkout")
	fmt.Println(gate.Pass, gate.RuleID)

	config := current.Load().Config(&ann, "button")
	var button struct{ Color string }
	if err := json.Unmarshal(config.Value, &button); err != nil {
		log.Fatal(err)
	}
	fmt.Println(button.Color, config.SecondaryExposures())

	// The gate is switched off: the config that asks it follows.
	off := specs.FeatureGates[0]
	off.Enabled = false
	next := current.Load().Apply(eval.Change{Time: 1700000000001, Set: []eval.Spec{off}})
	current.Store(next)
	for _, ref := range next.Dependents(off.Ref()) {
		entry, _, _ := next.AppendClientEntry(nil, &ann, ref, eval.ClientOptions{Hash: eval.HashNone})
		fmt.Println(ref.Section, string(entry))
	}
	// Output:
	// true staff
	// green [{new_checkout true staff}]
	// feature_gates {"name":"new_checkout","value":false,"rule_id":"disabled","id_type":"userID","secondary_exposures":[]}
	// dynamic_configs {"name":"button","value":{"color":"grey"},"rule_id":"default","group":"default","id_type":"userID","is_device_based":false,"passed":false,"secondary_exposures":[{"gate":"new_checkout","gateValue":"false","ruleID":"disabled"}]}
}
