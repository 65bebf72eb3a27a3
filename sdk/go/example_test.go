package sluice_test

import (
	"context"
	"fmt"
	"log"
	"time"

	sluice "github.com/sluice-flags/sluice/sdk/go"
)

// A service makes one client, decides, and closes it at the end. Here it stays
// off the network and decides by a bootstrap, as a test would; with a key and
// WithURL in place of WithLocalMode it follows a platform.
func Example() {
	client, err := sluice.New("", sluice.WithLocalMode(), sluice.WithBootstrap([]byte(`{
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
			"salt": "beef", "enabled": true, "defaultValue": {"color": "grey"}, "idType": "userID", "rules": []
		}],
		"layer_configs": []
	}`)))
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	defer client.Close(ctx)
	if err := client.Ready(ctx); err != nil {
		log.Print("flags are not current yet: ", err) // it decides by what it has
	}

	ann := sluice.User{UserID: "u-42", Email: "ann@example.com"}
	gate := client.Gate(&ann, "new_checkout")
	fmt.Println(gate.Value, gate.RuleID, gate.Reason)

	button := client.Config(&ann, "button")
	fmt.Println(button.Text("color", "black"), button.Int("size", 14))

	client.OverrideGate("new_checkout", false)
	fmt.Println(client.Gate(&ann, "new_checkout").Value)
	// Output:
	// true staff Rule
	// grey 14
	// false
}

// A client tells when its definitions change and when it loses touch.
func ExampleClient_OnStatus() {
	client, err := sluice.New("", sluice.WithLocalMode())
	if err != nil {
		log.Fatal(err)
	}
	stop := client.OnStatus(func(s sluice.Status) {
		log.Printf("flags are %v since %v: %v", s.State, s.Since, s.LastError)
	})
	defer stop()
	fmt.Println(client.Status().State)
	// Output: OFF
}
