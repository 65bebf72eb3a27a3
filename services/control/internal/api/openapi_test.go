package api

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/internal/web/webtest"
)

// described is the description as nested maps.
func described(t *testing.T) map[string]any {
	t.Helper()
	doc, _ := webtest.Description(t, "control.yaml")
	return doc
}

func TestEveryRouteIsDescribedAndNothingElse(t *testing.T) {
	doc := described(t)
	var want, got []string
	for _, r := range New(nil, nil, nil).routes {
		want = append(want, r.method+" "+r.path)
	}
	operations := map[string]bool{}
	for p, item := range webtest.At(doc, "paths").(map[string]any) {
		for method, operation := range item.(map[string]any) {
			if method == "parameters" {
				continue
			}
			got = append(got, strings.ToUpper(method)+" "+p)
			id, _ := webtest.At(operation, "operationId").(string)
			if id == "" || operations[id] {
				t.Errorf("%s %s has the operation id %q, want one of its own", method, p, id)
			}
			operations[id] = true
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("routes (-served +described):\n%s", diff)
	}
}

func TestTheQueryParametersOfEveryRouteAreDescribed(t *testing.T) {
	doc := described(t)
	for _, r := range New(nil, nil, nil).routes {
		operation := webtest.At(doc, "paths", r.path, strings.ToLower(r.method))
		list, _ := webtest.At(operation, "parameters").([]any)
		var got []string
		for _, p := range list {
			ref, _ := webtest.At(p, "$ref").(string)
			if parameter := webtest.At(doc, "components", "parameters", path.Base(ref)); webtest.At(parameter, "in") == "query" {
				got = append(got, webtest.At(parameter, "name").(string))
			}
		}
		want := slices.Sorted(slices.Values(r.params))
		slices.Sort(got)
		if !slices.Equal(want, got) {
			t.Errorf("%s %s takes %q, described with %q", r.method, r.path, want, got)
		}
	}
}

func TestEveryReferenceOfTheDescriptionResolves(t *testing.T) {
	webtest.CheckReferences(t, "control.yaml", described(t))
}

func TestEveryProblemCodeIsDescribed(t *testing.T) {
	var got []string
	for _, code := range webtest.At(described(t), "components", "schemas", "Problem", "properties", "code", "enum").([]any) {
		got = append(got, code.(string))
	}
	slices.Sort(got)
	var want []string
	for _, code := range slices.Sorted(maps.Keys(web.Codes())) {
		want = append(want, string(code))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("codes (-answered +described):\n%s", diff)
	}
}

func TestTheDescriptionIsServedToAnybody(t *testing.T) {
	w := httptest.NewRecorder()
	New(nil, nil, nil).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/openapi.yaml", nil))
	if w.Code != http.StatusOK || !strings.HasPrefix(w.Body.String(), "openapi: 3.1") {
		t.Errorf("GET openapi.yaml = %d %.40q, want the description", w.Code, w.Body)
	}
	w = httptest.NewRecorder()
	New(nil, nil, nil).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/api/v1/openapi.json", nil))
	var got any
	if err := json.Unmarshal(w.Body.Bytes(), &got); w.Code != http.StatusOK || err != nil {
		t.Fatalf("GET openapi.json = %d %.40q, %v; want the description", w.Code, w.Body, err)
	}
	want, err := json.Marshal(described(t))
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := json.Marshal(got); string(got) != string(want) {
		t.Error("openapi.json says something else than openapi.yaml")
	}
}
