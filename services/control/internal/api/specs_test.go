package api_test

import (
	"fmt"
	"testing"

	"github.com/sluice-flags/sluice/pkg/eval"
)

func TestTheSpecsOfAnEnvironmentDecideAsTheEvaluatorDoes(t *testing.T) {
	w := newWorld(t)
	const path = "/api/v1/projects/shop/environments/staging/configSpecs"
	before := w.must(w.do("POST", gates, w.shop, `{"name":"g","rules":[]}`), 201)
	w.must(w.do("PATCH", gates+"/g", w.shop, `{"rules":[{"environments":["staging"],"passPercentage":100,"conditions":[{"type":"public"}]}]}`, "If-Match", "*"), 200)
	for _, tc := range []struct {
		path string
		want bool
	}{
		{path, true},
		{"/api/v1/projects/shop/environments/production/configSpecs", false},
		{path + fmt.Sprintf("?asOf=%d", before.seq()), false},
	} {
		got := w.must(w.do("GET", tc.path, w.shop, ``), 200)
		specs, err := eval.ParseSpecs(got.raw)
		if err != nil {
			t.Fatalf("GET %s answers no specs: %v", tc.path, err)
		}
		decided := eval.Compile(specs, eval.Options{}).Gate(&eval.User{UserID: "u"}, "g")
		if !decided.Found || decided.Pass != tc.want {
			t.Errorf("the gate by GET %s = %t (found: %t), want %t", tc.path, decided.Pass, decided.Found, tc.want)
		}
		if again := w.do("GET", tc.path, w.shop, ``, "If-None-Match", got.header.Get("ETag")); again.status != 304 || len(again.raw) > 0 {
			t.Errorf("GET %s with its ETag = %v, want 304", tc.path, again)
		}
	}
	if got := w.do("GET", "/api/v1/projects/shop/environments/moon/configSpecs", w.shop, ``); got.status != 404 {
		t.Errorf("specs of no environment = %v, want 404", got)
	}
}
