package statsig

import (
	"encoding/json"
	"strconv"
	"unicode/utf8"

	"github.com/sluice-flags/sluice/pkg/eval"
)

// A CheckRequest is the body of the HTTP server API: check_gate, get_config and
// get_layer.
type CheckRequest struct {
	GateName   string     `json:"gateName"`
	GateNames  []string   `json:"gateNames"`
	ConfigName string     `json:"configName"`
	LayerName  string     `json:"layerName"`
	User       *eval.User `json:"user"`
	Metadata   Metadata   `json:"statsigMetadata"`
}

// A GateAnswer is one gate's answer of check_gate.
type GateAnswer struct {
	Name      string  `json:"name"`
	Value     bool    `json:"value"`
	RuleID    *string `json:"rule_id"`
	GroupName *string `json:"group_name"`
}

// NewGateAnswer returns the answer for a decision on a gate.
func NewGateAnswer(r eval.Result) GateAnswer {
	return GateAnswer{Name: r.Name, Value: r.Pass, RuleID: orNull(r.RuleID), GroupName: orNull(r.GroupName)}
}

// AppendGateAnswer appends [NewGateAnswer] of a decision as encoding/json writes it.
// One gate is what is asked most often.
func AppendGateAnswer(dst []byte, r eval.Result) []byte {
	dst = appendText(append(dst, `{"name":`...), r.Name)
	dst = strconv.AppendBool(append(dst, `,"value":`...), r.Pass)
	dst = appendTextOrNull(append(dst, `,"rule_id":`...), r.RuleID)
	dst = appendTextOrNull(append(dst, `,"group_name":`...), r.GroupName)
	return append(dst, '}')
}

// appendTextOrNull appends a text, or null for an empty one.
func appendTextOrNull(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, "null"...)
	}
	return appendText(dst, s)
}

func appendText(dst []byte, s string) []byte {
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ', c >= utf8.RuneSelf-1, c == '"', c == '\\', c == '<', c == '>', c == '&':
			text, _ := json.Marshal(s) // a text always has a form
			return append(dst, text...)
		}
	}
	return append(append(append(dst, '"'), s...), '"')
}

// A ConfigAnswer is the answer of get_config.
type ConfigAnswer struct {
	Name      string          `json:"name"`
	Value     json.RawMessage `json:"value"`
	Group     string          `json:"group"`
	RuleID    *string         `json:"rule_id"`
	GroupName *string         `json:"group_name"`
}

// NewConfigAnswer returns the answer for a decision on a config or experiment.
func NewConfigAnswer(r eval.Result) ConfigAnswer {
	return ConfigAnswer{Name: r.Name, Value: object(r.Value), Group: r.RuleID, RuleID: orNull(r.RuleID), GroupName: orNull(r.GroupName)}
}

// A LayerAnswer is the answer of get_layer.
type LayerAnswer struct {
	Name                string          `json:"name"`
	Value               json.RawMessage `json:"value"`
	RuleID              string          `json:"ruleID"`
	AllocatedExperiment *string         `json:"allocatedExperimentName"`
}

// NewLayerAnswer returns the answer for a decision on a layer.
func NewLayerAnswer(r eval.Result) LayerAnswer {
	return LayerAnswer{Name: r.Name, Value: object(r.Value), RuleID: r.RuleID, AllocatedExperiment: orNull(r.AllocatedExperiment)}
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func object(value json.RawMessage) json.RawMessage {
	if len(value) == 0 {
		return json.RawMessage("{}")
	}
	return value
}
