package eval_test

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/pkg/eval"
)

// The vectors are what three published SDKs answered; see testdata/README.md.
// SLUICE_VECTORS names another folder of files in the same formats.

type vectorFile struct {
	Format  string              `json:"format"`
	Name    string              `json:"name"`
	IDLists map[string][]string `json:"id_lists"`
	SpecsV1 json.RawMessage     `json:"specs_v1"`
	SpecsV2 json.RawMessage     `json:"specs_v2"`
	Users   []eval.User         `json:"users"`
	Expect  []vectorRow         `json:"expect"`

	ours bool // from testdata, where minority must explain every deviation
}

type vectorRow struct {
	User   int                        `json:"u"`
	Type   string                     `json:"t"`
	Name   string                     `json:"n"`
	Unsup  bool                       `json:"unsup"`
	Split  []string                   `json:"split"`
	Alt    map[string]map[string]any  `json:"alt"`
	Values map[string]json.RawMessage `json:"-"`
}

func (r *vectorRow) UnmarshalJSON(data []byte) error {
	type plain vectorRow
	if err := json.Unmarshal(data, (*plain)(r)); err != nil {
		return err
	}
	return json.Unmarshal(data, &r.Values)
}

func vectorFolders() []string {
	folders := []string{filepath.Join("testdata", "vectors")}
	if extra := os.Getenv("SLUICE_VECTORS"); extra != "" {
		folders = append(folders, extra)
	}
	return folders
}

// vectorPaths lists the .json and .json.gz files of a folder.
func vectorPaths(t *testing.T, folder string) []string {
	t.Helper()
	var paths []string
	for _, pattern := range []string{"*.json", "*.json.gz"} {
		found, err := filepath.Glob(filepath.Join(folder, pattern))
		if err != nil {
			t.Fatalf("listing %s: %v", folder, err)
		}
		paths = append(paths, found...)
	}
	slices.Sort(paths)
	return paths
}

func readVectors(t testing.TB, path string, into any) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		if r, err = gzip.NewReader(f); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
	if err := json.NewDecoder(r).Decode(into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func (f *vectorFile) options() eval.Options {
	o := eval.Options{Country: vectorCountries{}, UserAgent: vectorAgents{}, IDLists: map[string]*eval.IDList{}}
	for name, ids := range f.IDLists {
		hashed := make([]string, len(ids))
		for i, id := range ids {
			hashed[i] = eval.HashID(id)
		}
		o.IDLists[name] = eval.NewIDList(hashed)
	}
	return o
}

// compile reads one of the two shapes of the file's specs.
func (f *vectorFile) compile(t testing.TB, body json.RawMessage) *eval.Ruleset {
	t.Helper()
	specs, err := eval.ParseSpecs(body)
	if err != nil {
		t.Fatalf("ParseSpecs(%s) = %v", f.Name, err)
	}
	r := eval.Compile(specs, f.options())
	if q := r.Quarantined(); len(q) > 0 {
		t.Fatalf("Compile(%s).Quarantined() = %v, want none", f.Name, q)
	}
	return r
}

// tally counts what a run compared.
type tally struct{ rows, keys, preferred, accepted int }

func (c *tally) add(d tally) {
	c.rows += d.rows
	c.keys += d.keys
	c.preferred += d.preferred
	c.accepted += d.accepted
}

func TestEvaluationAgreesWithPublishedSDKs(t *testing.T) {
	var all tally
	for i, folder := range vectorFolders() {
		paths := vectorPaths(t, folder)
		if len(paths) == 0 {
			t.Fatalf("no vectors in %s", folder)
		}
		for _, path := range paths {
			t.Run(filepath.Base(path), func(t *testing.T) {
				f := vectorFile{ours: i == 0}
				readVectors(t, path, &f)
				rulesets := map[string]*eval.Ruleset{"v1": f.compile(t, f.SpecsV1)}
				if len(f.SpecsV2) > 0 {
					rulesets["v2"] = f.compile(t, f.SpecsV2)
				}
				for shape, rules := range rulesets {
					for i := range f.Expect {
						all.add(f.check(t, rules, shape, &f.Expect[i]))
					}
				}
			})
		}
	}
	t.Logf("compared %d rows, %d keys; of %d keys on which SDKs differ, %d got the preferred value",
		all.rows, all.keys, all.preferred+all.accepted, all.preferred)
}

// check compares one answer with a row: exactly, except for keys on which the
// SDKs differ, where any of their values will do.
func (f *vectorFile) check(t *testing.T, rules *eval.Ruleset, shape string, row *vectorRow) tally {
	t.Helper()
	count := tally{rows: 1}
	got := answer(rules, row, &f.Users[row.User])
	for key, value := range got {
		raw, ok := row.Values[key]
		if !ok {
			continue
		}
		var want any
		if err := json.Unmarshal(raw, &want); err != nil {
			t.Fatal(err)
		}
		count.keys++
		same := cmp.Equal(value, want)
		if !slices.Contains(row.Split, key) {
			if !same {
				t.Errorf("%s: %s %s for user %d: %s = %v, want %v", shape, row.Type, row.Name, row.User, key, value, want)
			}
			continue
		}
		if same {
			count.preferred++
			continue
		}
		count.accepted++
		if !slices.ContainsFunc(slices.Collect(maps.Values(row.Alt)), func(alt map[string]any) bool {
			v, ok := alt[key]
			return ok && cmp.Equal(value, v)
		}) {
			t.Errorf("%s: %s %s for user %d: %s = %v, want one of %v", shape, row.Type, row.Name, row.User, key, value, row.Alt)
		} else if f.ours && !ourChoice(f.Name, row.Name) {
			t.Errorf("%s: %s %s for user %d: %s = %v, accepted but not the preferred %v", shape, row.Type, row.Name, row.User, key, value, want)
		}
	}
	return count
}

// answer evaluates a row's entity and returns the values of the row's keys, as
// encoding/json would decode them.
func answer(rules *eval.Ruleset, row *vectorRow, u *eval.User) map[string]any {
	var res eval.Result
	switch row.Type {
	case "gate":
		res = rules.Gate(u, row.Name)
	case "layer":
		res = rules.Layer(u, row.Name)
	default:
		res = rules.Config(u, row.Name)
	}
	got := map[string]any{"r": res.RuleID, "s": exposureRows(res.SecondaryExposures())}
	if row.Type == "gate" {
		got["v"] = res.Pass
		return got
	}
	var value map[string]any
	if err := json.Unmarshal(res.Value, &value); err != nil {
		value = map[string]any{"not an object": string(res.Value)}
	}
	got["v"], got["g"], got["p"] = value, res.GroupName, res.Pass
	if row.Type == "layer" {
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

// minority lists where the evaluator sides with a minority of the SDKs, and why.
// Everywhere else it must give the preferred value.
var minority = []struct{ file, name, why string }{
	{"01_rollout", "by_empty_idtype", "an empty id type is the user id, as in go"},
	{"05_numeric_ops", "gt__", "the text inf is no number, as in node"},
	{"05_numeric_ops", "gte__", "the text inf is no number, as in node"},
	{"06_version_ops", "version_", "a bad later part makes a version invalid, as in go"},
	{"07_time_ops", "", "absent and unparsable dates never match, and milliseconds count, as in core"},
	{"08_eq_regex", "re__look", "no look-around in a linear-time engine, as in go"},
	{"08_eq_regex", "re__uni", "booleans match by their text, as in core"},
	{"13_user_bucket", "no_salt", "a missing salt is empty, as in core"},
	{"13_user_bucket", "null_addl", "a missing salt is empty, as in core"},
	{"22_random_mix_3", "m3cfg2", "an absent date is not before anything, as in node and core"},
}

// ourChoice reports whether an accepted value that is not the preferred one is
// deliberate. Other people's files know no such list.
func ourChoice(file, name string) bool {
	return slices.ContainsFunc(minority, func(m struct{ file, name, why string }) bool {
		return m.file == file && strings.HasPrefix(name, m.name)
	})
}

type payloadFile struct {
	Name      string               `json:"name"`
	SpecsFrom string               `json:"specs_from"`
	Users     map[string]eval.User `json:"users"`
	Cases     []payloadCase        `json:"cases"`
}

type payloadCase struct {
	User     int                          `json:"u"`
	Hash     string                       `json:"hash"`
	Response map[string]any               `json:"response"`
	Split    []map[string]json.RawMessage `json:"split"`
	Optional map[string]string            `json:"optional"`
}

func TestPayloadsAgreeWithPublishedSDKs(t *testing.T) {
	payloads, fields := 0, 0
	for _, folder := range vectorFolders() {
		for _, path := range vectorPaths(t, filepath.Join(folder, "gcir")) {
			t.Run(filepath.Base(path), func(t *testing.T) {
				var f payloadFile
				readVectors(t, path, &f)
				var specs vectorFile
				readVectors(t, specsPath(t, folder, f.SpecsFrom), &specs)
				rules := specs.compile(t, specs.SpecsV1)
				for i := range f.Cases {
					c := &f.Cases[i]
					u := f.Users[strconv.Itoa(c.User)]
					body := rules.AppendClient(nil, &u, eval.ClientOptions{Hash: eval.ParseHashMode(c.Hash)})
					var got map[string]any
					if err := json.Unmarshal(body, &got); err != nil {
						t.Fatalf("AppendClient(user %d) is not JSON: %v\n%s", c.User, err, body)
					}
					payloads++
					fields += c.check(t, got)
				}
			})
		}
	}
	t.Logf("compared %d payloads, %d fields of entries", payloads, fields)
}

func specsPath(t *testing.T, folder, name string) string {
	t.Helper()
	name = strings.TrimSuffix(name, ".json")
	for _, ext := range []string{".json", ".json.gz"} {
		if path := filepath.Join(folder, name+ext); fileExists(path) {
			return path
		}
	}
	t.Fatalf("no %s.json in %s", name, folder)
	return ""
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func (c *payloadCase) check(t *testing.T, got map[string]any) (fields int) {
	t.Helper()
	for member, want := range c.Response {
		section, ok := want.(map[string]any)
		if !ok || member == "evaluated_keys" {
			if diff := cmp.Diff(want, got[member]); diff != "" {
				t.Errorf("user %d, %s: %s differs (-want +got):\n%s", c.User, c.Hash, member, diff)
			}
			continue
		}
		entries, _ := got[member].(map[string]any)
		for name := range entries {
			if _, ok := section[name]; !ok {
				t.Errorf("user %d, %s: %s has %s, want no such entry", c.User, c.Hash, member, name)
			}
		}
		for name, entry := range section {
			have, ok := entries[name].(map[string]any)
			if !ok {
				t.Errorf("user %d, %s: %s lacks %s", c.User, c.Hash, member, name)
				continue
			}
			fields += c.entry(t, member, name, entry.(map[string]any), have)
		}
	}
	return fields
}

func (c *payloadCase) entry(t *testing.T, section, name string, want, got map[string]any) (fields int) {
	t.Helper()
	for field := range got {
		if _, ok := want[field]; !ok && c.accepted(section, name, field) == nil {
			t.Errorf("user %d, %s: %s %s has the field %s = %v, want none", c.User, c.Hash, section, name, field, got[field])
		}
	}
	for field, value := range want {
		fields++
		have, ok := got[field]
		if !ok && c.Optional[section+"."+field] != "" || ok && cmp.Equal(value, have) {
			continue
		}
		if !slices.ContainsFunc(c.accepted(section, name, field), func(v any) bool { return cmp.Equal(v, have) }) {
			t.Errorf("user %d, %s: %s %s: %s = %v, want %v", c.User, c.Hash, section, name, field, have, value)
		}
	}
	return fields
}

// accepted returns the values that SDKs differ in, nil if they agree.
func (c *payloadCase) accepted(section, name, field string) (values []any) {
	for _, split := range c.Split {
		var path []string
		if json.Unmarshal(split["path"], &path) != nil || !slices.Equal(path, []string{section, name, field}) {
			continue
		}
		for sdk, raw := range split {
			var v any
			if sdk != "path" && json.Unmarshal(raw, &v) == nil {
				values = append(values, v)
			}
		}
	}
	return values
}

// vectorCountries are the countries of the addresses in the vectors.
type vectorCountries struct{}

func (vectorCountries) Country(ip string) (string, bool) {
	code, ok := map[string]string{
		"24.18.183.148": "US", "8.8.8.8": "US", "1.1.1.1": "US", "115.240.90.163": "IN", "2.125.160.216": "GB",
	}[ip]
	return code, ok
}

// vectorAgents reads just the user agents in the vectors: a token that tells the
// browser, and one that tells the system.
type vectorAgents struct{}

func (vectorAgents) ParseUserAgent(agent string) (ua eval.UserAgent) {
	for _, b := range []struct{ token, name, version string }{
		{"Edg/", "Edge", ""}, {"OPR/", "Opera", ""}, {"Trident/", "IE", "11.0"},
		{"Firefox/", "Firefox", ""}, {"Chrome/", "Chrome", ""}, {"Version/", "Safari", ""}, {"curl/", "curl", ""},
	} {
		_, rest, ok := strings.Cut(agent, b.token)
		if !ok {
			continue
		}
		version, _, _ := strings.Cut(rest, " ")
		parts := strings.Split(version, ".")
		ua.Browser, ua.BrowserVersion = b.name, strings.Join(parts[:min(3, len(parts))], ".")
		if b.version != "" {
			ua.BrowserVersion = b.version
		}
		break
	}
	if strings.Contains(agent, "Mobile") {
		switch ua.Browser {
		case "Safari":
			ua.Browser = "Mobile Safari"
		case "Chrome", "Firefox":
			ua.Browser += " Mobile"
		}
	}
	for _, s := range []struct{ token, name string }{
		{"Windows NT ", "Windows"}, {"iPhone OS ", "iOS"}, {"CPU OS ", "iOS"}, {"Android ", "Android"},
		{"Intel Mac OS X ", "Mac OS X"}, {"Linux", "Linux"},
	} {
		if _, rest, ok := strings.Cut(agent, s.token); ok {
			version := rest[:len(rest)-len(strings.TrimLeft(rest, "0123456789._"))]
			ua.OS, ua.OSVersion = s.name, strings.ReplaceAll(version, "_", ".")
			break
		}
	}
	return ua
}
