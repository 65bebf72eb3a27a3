package flags_test

import (
	"testing"

	"github.com/sluice-flags/sluice/pkg/flags"
)

func TestAFactBelongsToAnEnvironmentOfItsKey(t *testing.T) {
	s := flags.NewState("shop")
	for i, name := range []string{"development", "staging", "production"} {
		doc := &flags.Environment{ID: "env_" + name, Name: name}
		raw, err := flags.Encode(doc)
		if err != nil {
			t.Fatal(err)
		}
		seq := uint64(i + 1)
		s = s.With(flags.Position{LogID: "log", Seq: seq, Time: int64(seq)},
			flags.Entity{Ref: doc.Ref(), Name: name, Doc: doc, Raw: raw, Version: 1, Seq: seq, Time: int64(seq), Created: int64(seq)})
	}
	for _, c := range []struct {
		name string
		key  []string // environments of the key
		tier string
		want string
	}{
		{"the client's own", nil, "staging", "staging"},
		{"in another case", nil, "Staging", "staging"},
		{"production, if nobody says", nil, "", "production"},
		{"production, if the client's own is none", nil, "moon", "production"},
		{"the key's only one", []string{"staging"}, "", "staging"},
		{"the key's only one, by its id", []string{"env_staging"}, "", "staging"},
		{"the key's only one, whatever the client says", []string{"staging"}, "production", "staging"},
		{"production among several", []string{"staging", "production"}, "", "production"},
		{"the first of several others", []string{"staging", "development"}, "", "staging"},
		{"production for a key of what is gone", []string{"moon"}, "", "production"},
	} {
		got := flags.EnvironmentOf(s.EnvironmentsOf(&flags.Key{Environments: c.key}), c.tier)
		if got != c.want {
			t.Errorf("%s: key for %v, tier %q: EnvironmentOf() = %q, want %q", c.name, c.key, c.tier, got, c.want)
		}
	}
}
