// Package webtest holds services to the descriptions of their HTTP interfaces.
package webtest

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/schemas"
)

// Description reads the description of an interface, as nested maps and as text.
func Description(t *testing.T, file string) (doc map[string]any, text []byte) {
	t.Helper()
	text, err := fs.ReadFile(schemas.OpenAPI, file)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &doc); err != nil {
		t.Fatalf("%s is not YAML: %v", file, err)
	}
	return doc, text
}

// CheckDescription compares the routes of mux with those that a description
// names, both ways, and sees to it that the description is sound: every operation
// has an id of its own and says what a refusal looks like, every reference leads
// somewhere, every code of a problem is named. Operations tagged Operations are on
// another listener and not looked for. Preflights are not described.
func CheckDescription(t *testing.T, mux *http.ServeMux, file string) {
	t.Helper()
	doc, text := Description(t, file)
	var described []string
	ids := map[string]bool{}
	for path, item := range At(doc, "paths").(map[string]any) {
		for method, operation := range item.(map[string]any) {
			if method == "parameters" {
				continue
			}
			id, _ := At(operation, "operationId").(string)
			if id == "" || ids[id] {
				t.Errorf("%s: %s %s has the operation id %q, want one of its own", file, method, path, id)
			}
			ids[id] = true
			if responses, ok := At(operation, "responses").(map[string]any); !ok || len(responses) == 0 {
				t.Errorf("%s: %s %s names no response", file, method, path)
			}
			if tags, _ := At(operation, "tags").([]any); !slices.Contains(tags, any("Operations")) {
				described = append(described, strings.ToUpper(method)+" "+path)
			}
		}
	}
	var served []string
	for _, route := range routes(mux) {
		if method, path, ok := strings.Cut(route, " "); ok && method != http.MethodOptions {
			served = append(served, method+" "+strings.ReplaceAll(path, "...}", "}"))
		}
	}
	slices.Sort(described)
	slices.Sort(served)
	if diff := cmp.Diff(served, described); diff != "" {
		t.Errorf("%s (-served +described):\n%s", file, diff)
	}
	CheckReferences(t, file, doc)
	var codes []string
	list, _ := At(doc, "components", "schemas", "Problem", "properties", "code", "enum").([]any)
	for _, code := range list {
		codes = append(codes, code.(string))
		if _, ok := web.Codes()[web.Code(codes[len(codes)-1])]; !ok {
			t.Errorf("%s names the code %v, which nothing answers with", file, code)
		}
	}
	if len(codes) == 0 {
		t.Errorf("%s names no codes of problems", file)
	}

	answer := httptest.NewRecorder()
	mux.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/openapi/"+file, nil))
	if answer.Code != http.StatusOK || answer.Body.String() != string(text) {
		t.Errorf("GET /openapi/%s = %d %.40q, want the description", file, answer.Code, answer.Body)
	}
}

// routes returns the patterns that were registered with mux. The standard library
// keeps them to itself; a test may look.
func routes(mux *http.ServeMux) (patterns []string) {
	index := reflect.ValueOf(mux).Elem().FieldByName("index")
	seen := map[string]bool{}
	add := func(list reflect.Value) {
		for i := range list.Len() {
			text := list.Index(i).Elem().FieldByName("str").String()
			if !seen[text] {
				seen[text] = true
				patterns = append(patterns, text)
			}
		}
	}
	add(index.FieldByName("multis"))
	for segments := index.FieldByName("segments").MapRange(); segments.Next(); {
		add(segments.Value())
	}
	slices.Sort(patterns)
	return patterns
}

// At walks into the nested maps of a description.
func At(doc any, steps ...string) any {
	for _, step := range steps {
		m, ok := doc.(map[string]any)
		if !ok {
			return nil
		}
		doc = m[step]
	}
	return doc
}

// CheckReferences follows every reference of a description, within it and to the
// schemas of documents.
func CheckReferences(t *testing.T, file string, doc map[string]any) {
	t.Helper()
	var walk func(any)
	walk = func(node any) {
		switch node := node.(type) {
		case []any:
			for _, item := range node {
				walk(item)
			}
		case map[string]any:
			if ref, ok := node["$ref"].(string); ok {
				if inside, own := strings.CutPrefix(ref, "#/"); own {
					if At(doc, strings.Split(inside, "/")...) == nil {
						t.Errorf("%s: the reference %s leads nowhere", file, ref)
					}
				} else if _, err := fs.Stat(schemas.Documents, strings.TrimPrefix(ref, "../documents/")); err != nil {
					t.Errorf("%s: the reference %s leads nowhere: %v", file, ref, err)
				}
			}
			for _, value := range node {
				walk(value)
			}
		}
	}
	walk(doc)
}
