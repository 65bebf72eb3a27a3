package evaltest

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/pkg/eval"
)

// payloads is a file of recorded client payloads, of the format gcir-vectors/1.
type payloads struct {
	SpecsFrom string               `json:"specs_from"`
	Users     map[string]eval.User `json:"users"`
	Cases     []payload            `json:"cases"`
}

type payload struct {
	User     int                          `json:"u"`
	Hash     string                       `json:"hash"`
	Response map[string]any               `json:"response"`
	Split    []map[string]json.RawMessage `json:"split"`    // paths on which the SDKs differ, and what each says
	Optional map[string]string            `json:"optional"` // fields that some leave out
}

func checkPayloads(t *testing.T, folder, path string, o Options, all *Tally) {
	var f payloads
	read(t, path, "gcir-vectors/1", &f)
	rulesets := Read(t, specsPath(t, folder, f.SpecsFrom)).Compile(t, o)
	for _, shape := range sorted(rulesets) {
		for i := range f.Cases {
			c := &f.Cases[i]
			u, ok := f.Users[strconv.Itoa(c.User)]
			if !ok {
				t.Fatalf("case %d (user %d): %v", i, c.User, errNoUser)
			}
			body := rulesets[shape].AppendClient(nil, &u, eval.ClientOptions{Hash: eval.ParseHashMode(c.Hash)})
			if o.unsure() {
				all.NotJudged++
				continue
			}
			var got map[string]any
			if err := json.Unmarshal(body, &got); err != nil {
				t.Fatalf("AppendClient(user %d) is not JSON: %v\n%s", c.User, err, body)
			}
			all.Payloads++
			c.check(t, shape, got, all)
		}
	}
}

// specsPath finds the file that payloads take their specs from.
func specsPath(t *testing.T, folder, name string) string {
	t.Helper()
	name = strings.TrimSuffix(name, ".json")
	for _, dir := range []string{folder, filepath.Join(folder, "eval")} {
		for _, ext := range []string{".json", ".json.gz"} {
			path := filepath.Join(dir, name+ext)
			if _, err := os.Stat(path); err == nil {
				return path
			}
		}
	}
	t.Fatalf("no %s.json in %s or its eval folder, where its payloads take their specs from", name, folder)
	return ""
}

func (c *payload) check(t *testing.T, shape string, got map[string]any, all *Tally) {
	t.Helper()
	for _, member := range sorted(c.Response) {
		want := c.Response[member]
		section, ok := want.(map[string]any)
		if !ok || member == "evaluated_keys" {
			if diff := cmp.Diff(want, got[member]); diff != "" {
				t.Errorf("%s: user %d, %s: %s differs (-want +got):\n%s", shape, c.User, c.Hash, member, diff)
			}
			continue
		}
		entries, _ := got[member].(map[string]any)
		for _, name := range sorted(entries) {
			if _, ok := section[name]; !ok && !c.mayLack(member, name) {
				t.Errorf("%s: user %d, %s: %s has %s, want no such entry", shape, c.User, c.Hash, member, name)
			}
		}
		for _, name := range sorted(section) {
			want, _ := section[name].(map[string]any)
			if have, ok := entries[name].(map[string]any); ok {
				c.entry(t, shape, member, name, want, have, all)
			} else if !c.mayLack(member, name) {
				t.Errorf("%s: user %d, %s: %s lacks %s", shape, c.User, c.Hash, member, name)
			}
		}
	}
}

func (c *payload) entry(t *testing.T, shape, section, name string, want, got map[string]any, all *Tally) {
	t.Helper()
	for _, field := range sorted(got) {
		if _, ok := want[field]; !ok && c.accepted(section, name, field) == nil {
			t.Errorf("%s: user %d, %s: %s %s has the field %s = %v, want none", shape, c.User, c.Hash, section, name, field, got[field])
		}
	}
	for _, field := range sorted(want) {
		all.Fields++
		have, ok := got[field]
		if !ok && c.Optional[section+"."+field] != "" || ok && cmp.Equal(want[field], have) {
			continue
		}
		if !slices.ContainsFunc(c.accepted(section, name, field), func(v any) bool { return cmp.Equal(v, have) }) {
			t.Errorf("%s: user %d, %s: %s %s: %s = %v, want %v", shape, c.User, c.Hash, section, name, field, have, want[field])
		}
	}
}

// mayLack reports whether only some SDKs have an entry.
func (c *payload) mayLack(section, name string) bool { return c.split(section, name) != nil }

// accepted returns the values that SDKs differ in, nil if they agree.
func (c *payload) accepted(section, name, field string) (values []any) {
	for sdk, raw := range c.split(section, name, field) {
		var v any
		if sdk != "path" && json.Unmarshal(raw, &v) == nil {
			values = append(values, v)
		}
	}
	return values
}

func (c *payload) split(path ...string) map[string]json.RawMessage {
	for _, split := range c.Split {
		var at []string
		if json.Unmarshal(split["path"], &at) == nil && slices.Equal(at, path) {
			return split
		}
	}
	return nil
}
