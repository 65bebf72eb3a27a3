package flags_test

import (
	"fmt"
	"time"

	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/flags"
)

func Example() {
	state := flags.NewState("shop")
	gate, err := flags.Decode(flags.KindGate, []byte(`{
		"name": "new_pricing_page",
		"rules": [{
			"name": "Staff", "environments": null, "passPercentage": 100,
			"conditions": [{"type": "email", "operator": "str_ends_with_any", "targetValue": ["@company.com"]}]
		}]
	}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	flags.Advance(state, gate, time.Now(), nil)
	if problems := flags.Validate(state, gate); len(problems) > 0 {
		fmt.Println(problems)
		return
	}
	state = state.Put(flags.Entity{Ref: gate.Ref(), Name: gate.DocName(), Doc: gate, Version: 1, Seq: 1, Time: 1})

	rules := eval.Compile(flags.Lower(state, flags.Scope{Kind: flags.KeyServer}), eval.Options{})
	for _, email := range []string{"ann@company.com", "bob@example.org"} {
		fmt.Println(email, rules.Gate(&eval.User{UserID: "u1", Email: email}, "new_pricing_page").Pass)
	}
	// Output:
	// ann@company.com true
	// bob@example.org false
}

func ExampleValidate() {
	gate, err := flags.Decode(flags.KindGate, []byte(`{
		"name": "no/slashes",
		"rules": [{"environments": ["moon"], "passPercentage": 110, "conditions": [{"type": "email", "operator": "gt"}]}]
	}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	state := flags.NewState("shop")
	flags.Advance(state, gate, time.Now(), nil)
	for _, p := range flags.Validate(state, gate) {
		fmt.Println(p.Pointer, p.Code)
	}
	// Output:
	// /name name
	// /rules/0/passPercentage invalid
	// /rules/0/conditions/0/operator unknown
	// /rules/0/environments/0 missing
}
