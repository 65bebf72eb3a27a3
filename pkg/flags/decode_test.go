package flags_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/pkg/flags"
)

// marks is problems as "pointer code", for tables.
func marks(problems flags.Problems) []string {
	var out []string
	for _, p := range problems {
		out = append(out, strings.TrimSpace(p.Pointer+" "+p.Code))
	}
	slices.Sort(out)
	return out
}

func problemsOf(t *testing.T, err error) flags.Problems {
	t.Helper()
	var problems flags.Problems
	if err != nil && !errors.As(err, &problems) {
		t.Fatalf("Decode() = %v; want Problems", err)
	}
	return problems
}

func TestDecodeNamesEverythingThatHasTheWrongShape(t *testing.T) {
	deep := strings.Repeat(`[`, 40) + strings.Repeat(`]`, 40)
	for _, test := range []struct {
		name string
		kind flags.Kind
		raw  string
		want []string
	}{
		{"nothing", flags.KindGate, "", []string{"syntax"}},
		{"half a document", flags.KindGate, `{"name":`, []string{"syntax"}},
		{"trailing data", flags.KindGate, `{"name":"a","rules":[]} {}`, []string{"syntax"}},
		{"not UTF-8", flags.KindGate, "{\"name\":\"a\xff\"}", []string{"syntax"}},
		{"half a surrogate pair", flags.KindGate, `{"name":"a\ud800"}`, []string{"/name syntax"}},
		{"a whole surrogate pair", flags.KindGate, `{"name":"a\ud83d\ude00"}`, nil},
		{"an escaped backslash before u", flags.KindGate, `{"name":"a\\ud800"}`, nil},
		{"too deep", flags.KindGate, `{"name":"a","metadata":{"x":` + deep + `}}`, []string{"/metadata/x" + strings.Repeat("/0", 30) + " syntax"}},
		{"too large", flags.KindGate, `{"name":"` + strings.Repeat("a", 1<<20) + `"}`, []string{"too-large"}},
		{"no object", flags.KindGate, `["name"]`, []string{"type"}},
		{"null", flags.KindGate, `null`, []string{"type"}},
		{"no name", flags.KindGate, `{"rules":[]}`, []string{"/name required"}},
		{"null for a required member", flags.KindGate, `{"name":null}`, []string{"/name required"}},
		{"unknown kind", "flag", `{}`, []string{"unknown"}},
		{
			"everything at once", flags.KindGate,
			`{"name":"a","naem":1,"Rules":[],"tags":"x","expiresAt":"soon","clientVisible":"yes","metadata":{"any":{"thing":1}},
			"rules":[{"id":7,"environments":"production","passPercentage":"10","conditions":[{"type":"public","x":1},{}]}]}`,
			[]string{
				"/Rules unknown", "/clientVisible type", "/expiresAt invalid", "/naem unknown",
				"/rules/0/conditions/0/x unknown", "/rules/0/conditions/1/type required",
				"/rules/0/environments type", "/rules/0/id type", "/rules/0/passPercentage type", "/tags type",
			},
		},
		{"members twice", flags.KindGate, `{"name":"a","name":"b","metadata":{"x":1,"x":2}}`, []string{"/metadata/x duplicate", "/name duplicate"}},
		{"keys that differ in case", flags.KindGate, `{"name":"a","overrides":{"userID":{},"USERID":{}}}`, []string{"/overrides/USERID duplicate"}},
		{"case may differ inside values", flags.KindConfig, `{"name":"a","defaultValue":{"x":1,"X":2}}`, nil},
		{"numbers beyond doubles", flags.KindConfig, `{"name":"a","defaultValue":{"x":1e999,"y":9007199254740993}}`, []string{"/defaultValue/x too-large", "/defaultValue/y too-large"}},
		{"a fraction for a whole number", flags.KindMetric, `{"name":"a","type":"sum","event":"b","windowHours":1.5}`, []string{"/windowHours type"}},
		{"a range of three", flags.KindExperiment, `{"name":"a","allocation":1,"groups":[],"buckets":[[1,2,3],[4]]}`, []string{"/buckets/0 type", "/buckets/1 type"}},
		{"a pointer through odd names", flags.KindExperiment, `{"name":"a","allocation":1,"groups":[],"overrides":{"a/b~c":{"g":[1]}}}`, []string{"/overrides/a~1b~0c/g/0 type"}},
	} {
		_, err := flags.Decode(test.kind, []byte(test.raw))
		if diff := cmp.Diff(test.want, marks(problemsOf(t, err))); diff != "" {
			t.Errorf("%s: Decode() = %v (-want +got):\n%s", test.name, err, diff)
		}
	}
}

func TestDecodeFillsInWhatMayBeLeftOut(t *testing.T) {
	d, err := flags.Decode(flags.KindGate, []byte(`{"name":"a","unitType":"user_id","expiresAt":"2027-02-01T02:00:00.123456+02:00",
		"tags":[],"rules":[{"environments":null,"passPercentage":1,"conditions":[{"type":"email","operator":"any","targetValue":[ "x" ]}]}]}`))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := flags.Encode(d)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"name":"a","expiresAt":"2027-02-01T00:00:00.123Z","status":"inProgress","unitType":"userID",` +
		`"rules":[{"environments":null,"passPercentage":1,"conditions":[{"type":"email","operator":"any","targetValue":["x"]}]}]}`
	if string(raw) != want {
		t.Errorf("Encode(Decode()) = %s; want %s", raw, want)
	}
}

func TestLoadPassesOverWhatANewerProgramWrote(t *testing.T) {
	d, err := flags.Load(flags.KindGate, []byte(`{"id":"gate_1","name":"a","rules":[],"invented":{"later":true}}`))
	if err != nil || d.DocName() != "a" {
		t.Errorf("Load() = %v, %v; want the gate", d, err)
	}
	if _, err := flags.Load(flags.KindGate, []byte(`{"name":7}`)); err == nil {
		t.Error("Load() of a name that is a number gave no error")
	}
}

func TestClonesShareNothing(t *testing.T) {
	d, err := flags.Decode(flags.KindGate, []byte(everyone("a", 10)))
	if err != nil {
		t.Fatal(err)
	}
	c := flags.Clone(d).(*flags.Gate)
	if diff := cmp.Diff(d, c); diff != "" {
		t.Errorf("Clone() differs:\n%s", diff)
	}
	c.Rules[0].PassPercentage = 99
	c.Rules[0].Conditions[0].Type = "email"
	if g := d.(*flags.Gate); g.Rules[0].PassPercentage != 10 || g.Rules[0].Conditions[0].Type != "public" {
		t.Errorf("a change of the clone shows in the original: %+v", g.Rules[0])
	}
}

// FuzzDecode holds for whatever anybody sends: no panic, problems with pointers or
// a document that survives the round trip, and validation and lowering that take
// whatever decoding let through.
func FuzzDecode(f *testing.F) {
	for _, e := range examples(f) {
		f.Add(string(e.kind), e.raw)
	}
	for _, raw := range []string{``, `{`, `null`, `{"name":"a","rules":[null]}`, `{"name":"a","rules":[{"conditions":[{"type":"time","operator":"on","targetValue":1e300}]}]}`, "{\"\\u", `{"name":"\ud800"}`} {
		f.Add("gate", []byte(raw))
	}
	p := newProject(f)
	f.Fuzz(func(t *testing.T, kind string, raw []byte) {
		d, err := flags.Decode(flags.Kind(kind), raw)
		if err != nil {
			if len(problemsOf(t, err)) == 0 {
				t.Fatalf("Decode(%s, %q) = %v; want at least one problem", kind, raw, err)
			}
			return
		}
		first, err := flags.Encode(d)
		if err != nil {
			t.Fatalf("Encode(Decode(%q)) = %v", raw, err)
		}
		again, err := flags.Decode(flags.Kind(kind), first)
		if err != nil {
			t.Fatalf("Decode(Encode(%q)) = %v", raw, err)
		}
		if second, err := flags.Encode(again); err != nil || string(first) != string(second) {
			t.Fatalf("Encode is not canonical (%v):\n%s\n%s", err, first, second)
		}
		p := &project{t: t, state: p.state}
		flags.Advance(p.state, d, testTime, func(prefix string) string { return prefix + "x" })
		if len(flags.Validate(p.state, d)) > 0 {
			return
		}
		state := p.state.Put(p.next(d))
		body := flags.Lower(state, flags.Scope{Kind: flags.KeyServer})
		if _, err := json.Marshal(body); err != nil {
			t.Fatalf("Lower(%s) has no JSON: %v", first, err)
		}
		if q := evalQuarantine(body); q != "" {
			t.Fatalf("Lower(%s): %s", first, q)
		}
	})
}
