package statsig_test

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/internal/statsig"
	"github.com/sluice-flags/sluice/pkg/eval"
)

func TestBothShapesMeanTheSame(t *testing.T) {
	v1, err := statsig.EncodeV1(sample())
	if err != nil {
		t.Fatal(err)
	}
	v2, err := statsig.EncodeV2(sample())
	if err != nil {
		t.Fatal(err)
	}
	a, err := eval.ParseSpecs(v1)
	if err != nil {
		t.Fatal(err)
	}
	b, err := eval.ParseSpecs(v2)
	if err != nil {
		t.Fatal(err)
	}
	for _, experiments := range b.Layers {
		slices.Sort(experiments) // a v2 body has no order here
	}
	sameOrder := cmp.Transformer("byName", func(specs []eval.Spec) map[string]string {
		out := map[string]string{}
		for _, s := range specs {
			text, _ := json.Marshal(s)
			out[s.Name] = string(text)
		}
		return out
	})
	if diff := cmp.Diff(a, b, sameOrder); diff != "" {
		t.Errorf("ParseSpecs of v1 and v2 differ (-v1 +v2):\n%s", diff)
	}
}
