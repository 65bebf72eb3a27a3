package flags

import (
	"encoding/json"

	"github.com/sluice-flags/sluice/pkg/eval"
)

type Operation struct {
	Op     string          `json:"op"`
	Path   string          `json:"path,omitempty"`
	Before json.RawMessage `json:"before,omitempty"`
	After  json.RawMessage `json:"after,omitempty"`
}

func Diff(before, after Document) []Operation { return nil }

type Scope struct {
	Kind         KeyKind
	Environments []string
	TargetApps   []string
}

func Lower(s *State, scope Scope) eval.Specs { return eval.Specs{} }
func LowerChange(before, after *State, changed []Ref, scope Scope) eval.Change {
	return eval.Change{}
}
