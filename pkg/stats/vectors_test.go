package stats_test

import (
	"bytes"
	"compress/gzip"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
)

// vectorFiles hold the cases that every implementation of the engine must pass:
// numbers evaluated at sixty digits from the published formulas and compared
// with established tools.
//
//go:embed testdata/vectors/*.json.gz
var vectorFiles embed.FS

// vectorsFolder names a further folder of cases, *.json or *.json.gz.
const vectorsFolder = "SLUICE_STATS_VECTORS"

type vectorFile struct {
	Schema string       `json:"schema"`
	Family string       `json:"family"`
	Cases  []vectorCase `json:"cases"`
}

type vectorCase struct {
	ID          string               `json:"id"`
	Method      string               `json:"method"`
	Description string               `json:"description"`
	Input       json.RawMessage      `json:"input"`
	Params      json.RawMessage      `json:"params"`
	Expected    map[string]any       `json:"expected"`
	Tolerance   map[string]tolerance `json:"tolerance"`
}

type tolerance struct{ Rel, Abs float64 }

// answers are what the engine says to a case, under the names of the vectors.
// A value may be a number, a Number-like, a string, a bool, nil, a list or a
// nested answers.
type answers map[string]any

// methods answers a case by its method.
var methods = map[string]func(vectorCase) (answers, error){}

func TestEveryVectorIsAnsweredWithinItsTolerance(t *testing.T) {
	runVectors(t, "embedded", vectorFiles)
}

func TestEveryVectorOfTheNamedFolderIsAnsweredWithinItsTolerance(t *testing.T) {
	folder := os.Getenv(vectorsFolder)
	if folder == "" {
		t.Skipf("%s names no folder of further vectors", vectorsFolder)
	}
	runVectors(t, folder, os.DirFS(folder))
}

func runVectors(t *testing.T, source string, files fs.FS) {
	t.Helper()
	total, failed, perFile := 0, 0, map[string]int{}
	err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !isVectorFile(path) {
			return err
		}
		file, err := readVectors(files, path)
		if err != nil {
			return fmt.Errorf("reading %s: %w", path, err)
		}
		for _, c := range file.Cases {
			total++
			perFile[file.Family]++
			if !t.Run(c.ID, func(t *testing.T) { checkCase(t, c) }) {
				failed++
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if total == 0 {
		t.Fatalf("no vectors in %s", source)
	}
	var families []string
	for _, family := range slices.Sorted(maps.Keys(perFile)) {
		families = append(families, fmt.Sprintf("%s %d", family, perFile[family]))
	}
	fmt.Printf("stats vectors (%s): %d cases compared, %d failed: %s\n",
		source, total, failed, strings.Join(families, ", "))
}

func isVectorFile(path string) bool {
	return strings.HasSuffix(path, ".json") || strings.HasSuffix(path, ".json.gz")
}

func readVectors(files fs.FS, path string) (vectorFile, error) {
	raw, err := fs.ReadFile(files, path)
	if err != nil {
		return vectorFile{}, err
	}
	if strings.HasSuffix(path, ".gz") {
		unzip, err := gzip.NewReader(bytes.NewReader(raw))
		if err != nil {
			return vectorFile{}, err
		}
		if raw, err = io.ReadAll(unzip); err != nil {
			return vectorFile{}, err
		}
	}
	var file vectorFile
	if err := json.Unmarshal(raw, &file); err != nil {
		return vectorFile{}, err
	}
	if file.Schema != "stats-vectors/1" {
		return vectorFile{}, fmt.Errorf("schema %q is not stats-vectors/1", file.Schema)
	}
	return file, nil
}

func checkCase(t *testing.T, c vectorCase) {
	answer, ok := methods[c.Method]
	if !ok {
		t.Fatalf("no answer is known for method %q", c.Method)
	}
	got, err := answer(c)
	if err != nil {
		got, err = refused(err)
	}
	if err != nil {
		t.Fatalf("%s(%s): %v", c.Method, c.Description, err)
	}
	for _, field := range slices.Sorted(maps.Keys(c.Expected)) {
		tol, ok := c.Tolerance[field]
		if !ok {
			tol = c.Tolerance["default"]
		}
		value, known := got[field]
		if !known {
			t.Errorf("%s(%s).%s is not answered", c.Method, c.Description, field)
			continue
		}
		if diff := difference(plain(value), c.Expected[field], tol); diff != "" {
			t.Errorf("%s(%s).%s: %s", c.Method, c.Description, field, diff)
		}
	}
}

// plain turns an answer into what decoding JSON gives, except that NaN stays one
// and so fails whatever is wanted.
func plain(v any) any {
	if f, ok := v.(float64); ok {
		return f
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var out any
	if err := json.Unmarshal(raw, &out); err != nil {
		return err
	}
	return out
}

// difference tells how got misses want, or nothing.
func difference(got, want any, tol tolerance) string {
	switch w := want.(type) {
	case float64:
		g, ok := got.(float64)
		if !ok || !(math.Abs(g-w) <= tol.Abs+tol.Rel*math.Abs(w)) {
			return fmt.Sprintf("got %v, want %v within rel %g abs %g (off by rel %.2g)",
				got, w, tol.Rel, tol.Abs, math.Abs(g-w)/math.Abs(w))
		}
		return ""
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return fmt.Sprintf("got %v, want %v", got, w)
		}
		for i := range w {
			if diff := difference(g[i], w[i], tol); diff != "" {
				return fmt.Sprintf("[%d]: %s", i, diff)
			}
		}
		return ""
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return fmt.Sprintf("got %v, want %v", got, w)
		}
		if len(w) == 0 && len(g) != 0 {
			return fmt.Sprintf("got %v, want nothing", g)
		}
		for _, key := range slices.Sorted(maps.Keys(w)) {
			if diff := difference(g[key], w[key], tol); diff != "" {
				return fmt.Sprintf(".%s: %s", key, diff)
			}
		}
		return ""
	}
	if got != want {
		return fmt.Sprintf("got %v, want %v", got, want)
	}
	return ""
}
