package main

import (
	"errors"
	"fmt"
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
