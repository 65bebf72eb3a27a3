package api_test

import "testing"

func TestAParameterThatMeansOneThingIsGivenOnce(t *testing.T) {
	w := newWorld(t)
	for query, pointer := range map[string]string{
		"asOf=1&asOf=2": "asOf", "limit=1&limit=1": "limit", "asof=1": "asof",
		"tag=a&tag=b&status=draft&status=running&owner=a&owner=b": "",
	} {
		got := w.do("GET", gates+"?"+query, w.shop, "")
		if refused := got.status == 400; refused != (pointer != "") || refused && got.pointers() != pointer {
			t.Errorf("GET of gates with ?%s = %v, want a refusal about %q, if about anything", query, got, pointer)
		}
	}
}
