package main

import (
	"errors"
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
