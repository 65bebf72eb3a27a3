package flags

import (
	"regexp"
	"strings"
)

// A Kind is one of the things that people define.
type Kind string

// The kinds. Their text is the token in subjects and paths.
const (
	KindProject     Kind = "project" // the project's own settings
	KindEnvironment Kind = "environment"
	KindKey         Kind = "key"
	KindSegment     Kind = "segment"
	KindHoldout     Kind = "holdout"
	KindGate        Kind = "gate"
	KindConfig      Kind = "config"
	KindLayer       Kind = "layer"
	KindExperiment  Kind = "experiment"
	KindMetric      Kind = "metric"
	KindIDs         Kind = "ids"     // batches of a segment's id list
	KindErasure     Kind = "erasure" // units of whom nothing is kept
)

// kinds is the one table of what a kind is: the prefix of its ids, the name
// space that it shares, and its empty document.
var kinds = []struct {
	kind   Kind
	prefix string
	space  string // kinds of one space may not share a name
	empty  func() Document
}{
	{KindProject, "proj_", "project", func() Document { return new(Project) }},
	{KindEnvironment, "env_", "environment", func() Document { return new(Environment) }},
	{KindKey, "key_", "key", func() Document { return new(Key) }},
	{KindSegment, "seg_", "segment", func() Document { return new(Segment) }},
	{KindIDs, "seg_", "ids", func() Document { return new(IDBatch) }},
	{KindHoldout, "hold_", "gate", func() Document { return new(Holdout) }},
	{KindGate, "gate_", "gate", func() Document { return new(Gate) }},
	{KindConfig, "cfg_", "config", func() Document { return new(Config) }},
	{KindLayer, "lay_", "layer", func() Document { return new(Layer) }},
	{KindMetric, "met_", "metric", func() Document { return new(Metric) }},
	{KindExperiment, "exp_", "config", func() Document { return new(Experiment) }},
	{KindErasure, "era_", "erasure", func() Document { return new(Erasure) }},
}

// Kinds lists every kind, each after those that it may refer to.
func Kinds() []Kind {
	out := make([]Kind, len(kinds))
	for i, k := range kinds {
		out[i] = k.kind
	}
	return out
}

// Known reports whether k is a kind.
func (k Kind) Known() bool { return k.IDPrefix() != "" }

// IDPrefix is what ids of the kind begin with, such as "gate_"; empty for an
// unknown kind.
func (k Kind) IDPrefix() string {
	for _, e := range kinds {
		if e.kind == k {
			return e.prefix
		}
	}
	return ""
}

// space is the name space of the kind. Gates share one with holdouts, configs
// with experiments: SDKs find them by name in the same table.
func (k Kind) space() string {
	for _, e := range kinds {
		if e.kind == k {
			return e.space
		}
	}
	return string(k)
}

// ValidID reports whether id can be the id of an entity of the kind: its prefix,
// then lower-case letters, digits, '_' or '-', so that it is one token of a
// subject. A batch of ids is the exception: its id is the segment's, a dot and a
// number, so that its subject has a token for each.
func (k Kind) ValidID(id string) bool {
	if k == KindIDs {
		_, _, ok := splitBatch(id)
		return ok
	}
	prefix := k.IDPrefix()
	rest, ok := strings.CutPrefix(id, prefix)
	return ok && prefix != "" && idRest.MatchString(rest)
}

var idRest = regexp.MustCompile(`^[a-z0-9_-]{1,64}$`)

// A Ref names one entity for ever: ids are immutable and never used twice.
type Ref struct {
	Kind Kind   `json:"kind"`
	ID   string `json:"id"`
}

// String is the reference as in "gate/gate_01j2".
func (r Ref) String() string { return string(r.Kind) + "/" + r.ID }

// compare orders references by kind, then id.
func (r Ref) compare(o Ref) int {
	if c := strings.Compare(string(r.Kind), string(o.Kind)); c != 0 {
		return c
	}
	return strings.Compare(r.ID, o.ID)
}
