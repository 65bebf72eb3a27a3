package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEvalPrintsWhatAUserGetsAndWhy(t *testing.T) {
	const answer = `{"sequence":9,"environment":"staging","results":[{"kind":"experiment","id":"exp_1","name":"price","value":{"price":3},"ruleId":"grp_b","group":"cheap","reason":"rule","secondaryExposures":[],
		"trace":{"section":"configs","name":"price","rules":[
			{"id":"prestart","percentage":100,"matched":false,"conditions":[{"type":"pass_gate","expected":"team","input":false,"holds":false,
				"gate":{"section":"gates","name":"team","rules":[{"id":"r","percentage":50,"matched":true,"conditions":[{"type":"public","input":null,"holds":true}],"rollout":{"idType":"userID","unitID":"ada","bucket":7001,"threshold":5000}}]}}]},
			{"id":"grp_b","percentage":100,"matched":true,"conditions":[{"type":"user_field","field":"country","operator":"any","expected":["NZ"],"input":"NZ","holds":true}]}]}}]}`
	var asked map[string]any
	at := served(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.URL.Path != "/api/v1/projects/shop/evaluate" || json.NewDecoder(r.Body).Decode(&asked) != nil {
			t.Errorf("%s %s was asked; want POST of evaluate", r.Method, r.URL)
		}
		if fmt.Sprint(asked["names"]) == "[missing]" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		fmt.Fprint(w, answer)
	})
	run := func(c evalCommand) (string, error) {
		var b bytes.Buffer
		c.remote, c.Environment = at, "staging"
		err := c.run(t.Context(), &b)
		return b.String(), err
	}
	text, err := run(evalCommand{Name: "price", User: `{"userID": "ada"}`, AsOf: "9", Trace: true})
	want := `experiment price: {"price":3}  (rule grp_b, cheap)
  no   rule prestart, 100 %
    no   pass_gate "team"
      yes  rule r, 50 %: bucket 7001 of 10000, those below 5000 pass
        yes  public
  yes  rule grp_b, 100 %
    yes  user_field country any ["NZ"] of "NZ"
`
	if diff := cmp.Diff(want, text); err != nil || diff != "" {
		t.Errorf("eval = %v (-want +got):\n%s", err, diff)
	}
	question := map[string]any{"user": map[string]any{"userID": "ada"}, "names": []any{"price"}, "environment": "staging", "asOf": "9", "trace": true}
	if diff := cmp.Diff(question, asked); diff != "" {
		t.Errorf("question (-want +got):\n%s", diff)
	}
	if text, err := run(evalCommand{Name: "price", User: `{}`, JSON: true}); err != nil || text != answer {
		t.Errorf("eval --json = %q, %v; want the answer as it came", text, err)
	}
	for _, user := range []string{``, `ada`, `null`, `[]`} {
		if _, err := run(evalCommand{Name: "price", User: user}); exitCode(err) != exitUsage {
			t.Errorf("eval --user %q = %v; want a mistake of usage", user, err)
		}
	}
	if _, err := run(evalCommand{Name: "missing", User: `{}`}); exitCode(err) != exitNotFound {
		t.Errorf("eval of nothing = %v with exit code %d; want %d", err, exitCode(err), exitNotFound)
	}
}
