package flags_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// schemaDir is the folder of the schemas module that this package fills.
const schemaDir = "../../schemas/documents"

type example struct {
	kind flags.Kind
	path string
	raw  []byte
}

// examples reads the golden documents: files examples/<kind>.<what>.json.
func examples(t testing.TB) []example {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(schemaDir, "examples", "*.json"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no golden documents in %s: %v", schemaDir, err)
	}
	var out []example
	for _, path := range paths {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		kind, _, _ := strings.Cut(filepath.Base(path), ".")
		out = append(out, example{flags.Kind(kind), path, raw})
	}
	return out
}

// What was written once has to be readable for ever. A golden document is never
// edited; a new member gets a new example.
func TestGoldenDocumentsDecodeForEver(t *testing.T) {
	p := newProject(t)
	seen := map[flags.Kind]bool{}
	byKind := map[flags.Kind][]example{}
	for _, e := range examples(t) {
		byKind[e.kind] = append(byKind[e.kind], e)
	}
	for _, kind := range flags.Kinds() { // each kind after those that it may refer to
		for _, e := range byKind[kind] {
			seen[kind] = true
			d, err := flags.Decode(kind, e.raw)
			if err != nil {
				t.Errorf("Decode(%s) = %v", e.path, err)
				continue
			}
			var compact bytes.Buffer
			if err := json.Compact(&compact, e.raw); err != nil {
				t.Fatal(err)
			}
			raw, err := flags.Encode(d)
			if err != nil || string(raw) != compact.String() {
				t.Errorf("Encode(Decode(%s)) = %v\n%s\nwant\n%s", e.path, err, raw, compact.String())
			}
			if kind == flags.KindEnvironment {
				continue // the project has them
			}
			if problems := flags.Validate(p.state, d); len(problems) > 0 {
				t.Errorf("Validate(%s) = %v", e.path, problems)
			}
			p.write(d)
		}
	}
	for _, kind := range flags.Kinds() {
		if !seen[kind] {
			t.Errorf("there is no golden document of a %s", kind)
		}
	}
	if q := evalQuarantine(flags.Lower(p.state, flags.Scope{Kind: flags.KeyServer})); q != "" {
		t.Error(q)
	}
}

func evalQuarantine(s eval.Specs) string {
	for _, q := range eval.Compile(s, eval.Options{}).Quarantined() {
		return "the evaluator cannot compile " + q.Ref.Name + ": " + q.Reason
	}
	return ""
}

// skeleton is what a schema says about the members of an object, without the
// prose and the limits: the same can be read from a Go type.
type skeleton map[string]any

// The schemas are written for people and tools that have no Go. This holds them to
// the types that decode: same members, same JSON types, same members required.
func TestSchemasSayWhatDecodeTakes(t *testing.T) {
	types := map[flags.Kind]reflect.Type{
		flags.KindProject: reflect.TypeFor[flags.Project](), flags.KindEnvironment: reflect.TypeFor[flags.Environment](),
		flags.KindKey: reflect.TypeFor[flags.Key](), flags.KindSegment: reflect.TypeFor[flags.Segment](),
		flags.KindHoldout: reflect.TypeFor[flags.Holdout](), flags.KindGate: reflect.TypeFor[flags.Gate](),
		flags.KindConfig: reflect.TypeFor[flags.Config](), flags.KindLayer: reflect.TypeFor[flags.Layer](),
		flags.KindExperiment: reflect.TypeFor[flags.Experiment](), flags.KindIDs: reflect.TypeFor[flags.IDBatch](), flags.KindMetric: reflect.TypeFor[flags.Metric](),
		flags.KindErasure: reflect.TypeFor[flags.Erasure](),
	}
	for _, kind := range flags.Kinds() {
		path := filepath.Join(schemaDir, string(kind)+".schema.json")
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
			continue
		}
		var s map[string]any
		if err := json.Unmarshal(raw, &s); err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		defs, _ := s["$defs"].(map[string]any)
		if diff := cmp.Diff(ofType(types[kind]), ofSchema(s, defs)); diff != "" {
			t.Errorf("%s says something else than the type (-type +schema):\n%s", path, diff)
		}
	}
}

// ofSchema is the skeleton of a JSON Schema.
func ofSchema(s, defs map[string]any) skeleton {
	if ref, ok := s["$ref"].(string); ok {
		s, _ = defs[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
	}
	kind, _ := s["type"].(string)
	if list, ok := s["type"].([]any); ok { // "or null"
		kind, _ = list[0].(string)
	}
	out := skeleton{"type": kind}
	if items, ok := s["items"].(map[string]any); ok {
		out["items"] = ofSchema(items, defs)
	}
	if values, ok := s["additionalProperties"].(map[string]any); ok {
		out["values"] = ofSchema(values, defs)
	}
	if properties, ok := s["properties"].(map[string]any); ok {
		if s["additionalProperties"] != false {
			out["open"] = true
		}
		members := skeleton{}
		for name, p := range properties {
			members[name] = ofSchema(p.(map[string]any), defs)
		}
		required, _ := s["required"].([]any)
		for _, name := range required {
			members[name.(string)].(skeleton)["required"] = true
		}
		out["members"] = members
	}
	return out
}

// ofType is the skeleton of a Go type.
func ofType(t reflect.Type) skeleton {
	if t == reflect.TypeFor[time.Time]() {
		return skeleton{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return ofType(t.Elem())
	case reflect.String:
		return skeleton{"type": "string"}
	case reflect.Bool:
		return skeleton{"type": "boolean"}
	case reflect.Int, reflect.Int64:
		return skeleton{"type": "integer"}
	case reflect.Float64:
		return skeleton{"type": "number"}
	case reflect.Slice, reflect.Array:
		return skeleton{"type": "array", "items": ofType(t.Elem())}
	case reflect.Map:
		return skeleton{"type": "object", "values": ofType(t.Elem())}
	}
	members := skeleton{}
	for _, f := range reflect.VisibleFields(t) {
		if f.Anonymous {
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		m := skeleton{"type": "object"} // free JSON: an object,
		if f.Type != reflect.TypeFor[json.RawMessage]() {
			m = ofType(f.Type)
		} else if f.Name == "TargetValue" {
			m = skeleton{"type": ""} // but for targets, which are anything
		}
		if f.Tag.Get("flags") == "required" {
			m["required"] = true
		}
		members[name] = m
	}
	return skeleton{"type": "object", "members": members}
}
