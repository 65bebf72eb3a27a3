package api

import (
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"

	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/schemas"
)

// described reads the description as plain maps.
func described(t *testing.T) map[string]any {
	t.Helper()
	text, err := fs.ReadFile(schemas.OpenAPI, "control.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatalf("control.yaml is not YAML: %v", err)
	}
	return doc
}

// at walks into nested maps.
func at(doc any, steps ...string) any {
	for _, step := range steps {
		m, ok := doc.(map[string]any)
		if !ok {
			return nil
		}
		doc = m[step]
	}
	return doc
}

func TestEveryRouteIsDescribedAndNothingElse(t *testing.T) {
	doc := described(t)
	var want, got []string
	for _, r := range New(nil, nil, nil).routes {
		want = append(want, r.method+" "+r.path)
	}
	operations := map[string]bool{}
	for p, item := range at(doc, "paths").(map[string]any) {
		for method, operation := range item.(map[string]any) {
			if method == "parameters" {
				continue
			}
			got = append(got, strings.ToUpper(method)+" "+p)
			id, _ := at(operation, "operationId").(string)
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
		operation := at(doc, "paths", r.path, strings.ToLower(r.method))
		list, _ := at(operation, "parameters").([]any)
		var got []string
		for _, p := range list {
			ref, _ := at(p, "$ref").(string)
			if parameter := at(doc, "components", "parameters", path.Base(ref)); at(parameter, "in") == "query" {
				got = append(got, at(parameter, "name").(string))
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
	doc := described(t)
	var walk func(any)
	walk = func(node any) {
		switch node := node.(type) {
		case []any:
			for _, item := range node {
				walk(item)
			}
		case map[string]any:
			if ref, ok := node["$ref"].(string); ok {
				if inside, ok := strings.CutPrefix(ref, "#/"); ok {
					if at(doc, strings.Split(inside, "/")...) == nil {
						t.Errorf("the reference %s leads nowhere", ref)
					}
				} else if _, err := fs.Stat(schemas.Documents, strings.TrimPrefix(ref, "../documents/")); err != nil {
					t.Errorf("the reference %s leads nowhere: %v", ref, err)
				}
			}
			for _, value := range node {
				walk(value)
			}
		}
	}
	walk(doc)
}

func TestEveryProblemCodeIsDescribed(t *testing.T) {
	var got []string
	for _, code := range at(described(t), "components", "schemas", "Problem", "properties", "code", "enum").([]any) {
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
}
