package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAShareIsAPercentage(t *testing.T) {
	found := surveyed{groups: map[string]int{"a": 1, "b": 1}}
	for _, share := range []string{"a=NaN", "a=Inf", "a=-1", "a=101", "a=half", "a", "c=50"} {
		_, _, err := (&importCommand{Share: []string{share}}).newExperiment(found)
		if _, usage := errors.AsType[usageError](err); !usage {
			t.Errorf("newExperiment() with --share %s = %v; want it refused as a mistake of usage", share, err)
		}
	}
	if doc, _, err := (&importCommand{Share: []string{"a=40", "b=60"}}).newExperiment(found); err != nil {
		t.Errorf("newExperiment() with shares of 40 and 60 = %v, %v", doc, err)
	}
}

func TestControlIsTheFirstGroupOfAnImportedExperiment(t *testing.T) {
	found := surveyed{groups: map[string]int{"a": 1, "Control": 1, "z": 1}}
	for control, want := range map[string]string{"": "[Control a z]", "z": "[z Control a]"} {
		doc, _, err := (&importCommand{Control: control}).newExperiment(found)
		if err != nil {
			t.Fatal(err)
		}
		var got []any
		for _, g := range doc["groups"].([]map[string]any) {
			got = append(got, g["name"])
		}
		if fmt.Sprint(got) != want {
			t.Errorf("groups with --control %q = %v; want %s", control, got, want)
		}
	}
}

func TestNothingIsMadeForAColumnThatCannotBeCounted(t *testing.T) {
	at := served(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			t.Errorf("%s %s for a file that is refused", r.Method, r.URL)
		}
		w.WriteHeader(http.StatusNotFound)
	})
	file := filepath.Join(t.TempDir(), "facts.csv")
	if err := os.WriteFile(file, []byte("g,v,w\na,1,1\nb,2,1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := importCommand{remote: at, File: file, Experiment: "x", GroupColumn: "g", Metric: []string{"w=w", "v=v:event_count"}, Create: true}
	if err := c.run(t.Context(), io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), "line 3: column v has 2") {
		t.Errorf("import = %v; want it to refuse the 2 of line 3", err)
	}
}
