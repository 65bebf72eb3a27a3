package evaltest

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/pkg/eval"
)

// A Row is what the SDKs answered about one entity for one user.
type Row struct {
	User  int                       `json:"u"`
	Type  string                    `json:"t"`
	Name  string                    `json:"n"`
	Split []string                  `json:"split"` // keys on which they differ
	Alt   map[string]map[string]any `json:"alt"`   // what each says of those

	Values map[string]json.RawMessage `json:"-"` // of all keys
}

// UnmarshalJSON reads a row.
func (r *Row) UnmarshalJSON(data []byte) error {
	type plain Row
	if err := json.Unmarshal(data, (*plain)(r)); err != nil {
		return err
	}
	return json.Unmarshal(data, &r.Values)
}

// Ref names the row's entity.
func (r *Row) Ref() (eval.Ref, error) {
	section, ok := map[string]eval.Section{"gate": eval.Gates, "config": eval.Configs, "experiment": eval.Configs, "layer": eval.Layers}[r.Type]
	if !ok {
		return eval.Ref{}, fmt.Errorf("row of the unknown type %q", r.Type)
	}
	return eval.Ref{Section: section, Name: r.Name}, nil
}

func (f *File) check(t *testing.T, o Options, all *Tally) {
	rulesets := f.Compile(t, o)
	for _, shape := range sorted(rulesets) {
		for i := range f.Expect {
			row := &f.Expect[i]
			ref, err := row.Ref()
			if row.User < 0 || row.User >= len(f.Users) {
				err = errNoUser
			}
			if err != nil {
				t.Fatalf("row %d (%s %s for user %d): %v", i, row.Type, row.Name, row.User, err)
			}
			got := answer(rulesets[shape], ref, &f.Users[row.User])
			if o.unsure() {
				all.NotJudged++
				continue
			}
			all.Evaluations++
			f.compare(t, o, shape, row, got, all)
		}
	}
}

// compare judges one answer: exactly, except for keys on which the SDKs differ,
// where any of theirs will do.
func (f *File) compare(t *testing.T, o Options, shape string, row *Row, got map[string]any, all *Tally) {
	t.Helper()
	for _, key := range sorted(got) {
		value := got[key]
		raw, ok := row.Values[key]
		if !ok {
			continue
		}
		var want any
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatal(err)
		}
		all.Keys++
		same := cmp.Equal(value, want)
		switch {
		case !slices.Contains(row.Split, key):
			if !same {
				t.Errorf("%s: %s %s for user %d: %s = %v, want %v", shape, row.Type, row.Name, row.User, key, value, want)
			}
		case same:
			all.Preferred++
		case !row.says(key, value):
			t.Errorf("%s: %s %s for user %d: %s = %v, want one of %v", shape, row.Type, row.Name, row.User, key, value, row.Alt)
		default:
			all.Accepted++
			if o.OurChoice != nil && !o.OurChoice(f.Name, row.Name) {
				t.Errorf("%s: %s %s for user %d: %s = %v, accepted but not the preferred %v", shape, row.Type, row.Name, row.User, key, value, want)
			}
		}
	}
}

// says reports whether some SDK gave the value.
func (r *Row) says(key string, value any) bool {
	for _, alt := range r.Alt {
		if v, ok := alt[key]; ok && cmp.Equal(value, v) {
			return true
		}
	}
	return false
}

// answer evaluates an entity and returns the values of a row's keys, as
// encoding/json would decode them.
func answer(rules *eval.Ruleset, ref eval.Ref, u *eval.User) map[string]any {
	var res eval.Result
	switch ref.Section {
	case eval.Gates:
		res = rules.Gate(u, ref.Name)
	case eval.Configs:
		res = rules.Config(u, ref.Name)
	case eval.Layers:
		res = rules.Layer(u, ref.Name)
	}
	got := map[string]any{"r": res.RuleID, "s": exposureRows(res.SecondaryExposures())}
	if ref.Section == eval.Gates {
		got["v"] = res.Pass
		return got
	}
	var value map[string]any
	if err := json.Unmarshal(res.Value, &value); err != nil {
		value = map[string]any{"not an object": string(res.Value)}
	}
	got["v"], got["g"], got["p"] = value, res.GroupName, res.Pass
	if ref.Section == eval.Layers {
		explicit := []any{}
		for _, p := range slices.Sorted(slices.Values(res.ExplicitParameters)) {
			if _, ok := value[p]; ok {
				explicit = append(explicit, p)
			}
		}
		got["us"], got["al"], got["ex"] = exposureRows(res.UndelegatedSecondaryExposures()), res.AllocatedExperiment, explicit
	}
	return got
}

func exposureRows(list []eval.SecondaryExposure) any {
	out := []any{}
	for _, x := range list {
		out = append(out, []any{x.Gate, x.GateValue, x.RuleID})
	}
	return out
}
