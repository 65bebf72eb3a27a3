// Package evaltest holds evaluation to what other SDKs answered: it reads files
// of recorded answers, in the formats that pkg/eval/testdata/README.md describes,
// and fails a test wherever package eval answers otherwise.
package evaltest

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sluice-flags/sluice/pkg/eval"
)

// Options say how answers are judged.
type Options struct {
	Country   eval.CountryLookup
	UserAgent eval.UserAgentParser

	// Unsure reports, once, whether a lookup was asked what it does not know. An
	// answer that hung on that is counted and not judged. Nil judges all.
	Unsure func() bool

	// OurChoice reports whether an answer that some SDK gives, but not the
	// majority, is meant. Nil takes any SDK's answer where they differ.
	OurChoice func(file, name string) bool
}

// A Tally counts what was compared.
type Tally struct {
	Files, Evaluations, Keys    int
	Preferred, Accepted         int // of the keys on which the SDKs differ
	Payloads, Fields, NotJudged int
}

// String sums a run up in one line.
func (c Tally) String() string {
	s := fmt.Sprintf("%d files: compared %d evaluations (%d keys; of %d on which SDKs differ, %d got the preferred value) and %d payloads (%d fields)",
		c.Files, c.Evaluations, c.Keys, c.Preferred+c.Accepted, c.Preferred, c.Payloads, c.Fields)
	if c.NotJudged > 0 {
		s += fmt.Sprintf("; %d more hang on addresses or user agents that are unknown here and were not judged", c.NotJudged)
	}
	return s
}

// A File is recorded evaluations, of the format eval-vectors/1.
type File struct {
	Name    string              `json:"name"`
	IDLists map[string][]string `json:"id_lists"`
	SpecsV1 json.RawMessage     `json:"specs_v1"`
	SpecsV2 json.RawMessage     `json:"specs_v2"`
	Users   []eval.User         `json:"users"`
	Expect  []Row               `json:"expect"`
}

// Check compares every file of a folder: evaluations that lie in it or in its
// eval/, and payloads in its gcir/. Each file is a subtest.
func Check(t *testing.T, folder string, o Options) (all Tally) {
	t.Helper()
	paths := Paths(t, folder)
	if len(paths) == 0 {
		where, _ := filepath.Abs(folder)
		t.Fatalf("no .json or .json.gz files in %s; relative names start at the package's folder", where)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			all.Files++
			Read(t, path).check(t, o, &all)
		})
	}
	for _, path := range list(t, filepath.Join(folder, "gcir")) {
		t.Run("gcir/"+filepath.Base(path), func(t *testing.T) {
			all.Files++
			checkPayloads(t, folder, path, o, &all)
		})
	}
	return all
}

// Paths returns the files with evaluations of a folder.
func Paths(t testing.TB, folder string) []string {
	t.Helper()
	return append(list(t, folder), list(t, filepath.Join(folder, "eval"))...)
}

func list(t testing.TB, folder string) (paths []string) {
	t.Helper()
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

// Read reads a file with evaluations.
func Read(t testing.TB, path string) *File {
	t.Helper()
	var f File
	read(t, path, "eval-vectors/1", &f)
	return &f
}

// read decodes a file, which must say that it is of the format.
func read(t testing.TB, path, format string, into any) {
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
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	var is struct{ Format string }
	if err := json.Unmarshal(text, &is); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if is.Format != format {
		t.Fatalf("%s is of the format %q, want %s; evaluations belong into the folder itself, payloads into its gcir", path, is.Format, format)
	}
	if err := json.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// Compile compiles each shape of the file's specs.
func (f *File) Compile(t testing.TB, o Options) map[string]*eval.Ruleset {
	t.Helper()
	options := eval.Options{Country: o.Country, UserAgent: o.UserAgent, IDLists: map[string]*eval.IDList{}}
	for name, ids := range f.IDLists {
		hashed := make([]string, len(ids))
		for i, id := range ids {
			hashed[i] = eval.HashID(id)
		}
		options.IDLists[name] = eval.NewIDList(hashed)
	}
	out := map[string]*eval.Ruleset{}
	for shape, body := range map[string]json.RawMessage{"v1": f.SpecsV1, "v2": f.SpecsV2} {
		if len(body) == 0 || string(body) == "null" {
			continue
		}
		specs, err := eval.ParseSpecs(body)
		if err != nil {
			t.Fatalf("ParseSpecs(%s, %s) = %v", f.Name, shape, err)
		}
		out[shape] = eval.Compile(specs, options)
		if q := out[shape].Quarantined(); len(q) > 0 {
			t.Fatalf("Compile(%s, %s).Quarantined() = %v, want none", f.Name, shape, q)
		}
	}
	if len(out) == 0 {
		t.Fatalf("%s has neither specs_v1 nor specs_v2", f.Name)
	}
	return out
}

// unsure asks [Options.Unsure].
func (o *Options) unsure() bool { return o.Unsure != nil && o.Unsure() }

var errNoUser = errors.New("no such user in the file")

// sorted returns the keys of a map in order.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
