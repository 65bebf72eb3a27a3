package statsig

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/sluice-flags/sluice/pkg/eval"
)

// NoUpdates is the body of a spec download that has nothing new for a caller
// who holds rules already. A caller who holds none must never get it: core SDKs
// would take it for success and stay empty.
const NoUpdates = `{"has_updates":false}`

// EncodeV1 returns the body of a v1 spec download: arrays of specs with their
// conditions inline, as Go, Node, Python and the other non-core SDKs read it.
func EncodeV1(s eval.Specs) ([]byte, error) {
	s.HasUpdates = true
	s.FeatureGates = portable(s.FeatureGates)
	s.DynamicConfigs = portable(s.DynamicConfigs)
	s.LayerConfigs = portable(s.LayerConfigs)
	if s.Layers == nil {
		s.Layers = map[string][]string{}
	}
	body, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encoding v1 specs: %w", err)
	}
	return body, nil
}

// EncodeSpec returns one spec as it stands in a v1 body.
func EncodeSpec(s eval.Spec) ([]byte, error) {
	text, err := json.Marshal(portable([]eval.Spec{s})[0])
	if err != nil {
		return nil, fmt.Errorf("encoding spec %s: %w", s.Name, err)
	}
	return text, nil
}

// specsV2 is the body of a v2 spec download: specs by name, each condition once.
type specsV2 struct {
	HasUpdates            bool                      `json:"has_updates"`
	Time                  int64                     `json:"time"`
	ResponseFormat        string                    `json:"response_format"`
	CompanyID             string                    `json:"company_id"`
	FeatureGates          map[string]specV2         `json:"feature_gates"`
	DynamicConfigs        map[string]specV2         `json:"dynamic_configs"`
	LayerConfigs          map[string]specV2         `json:"layer_configs"`
	Conditions            map[string]eval.Condition `json:"condition_map"`
	ExperimentToLayer     map[string]string         `json:"experiment_to_layer"`
	IDLists               map[string]bool           `json:"id_lists,omitempty"`
	AppID                 string                    `json:"app_id,omitempty"`
	SDKKeysToAppIDs       map[string]string         `json:"sdk_keys_to_app_ids,omitempty"`
	HashedSDKKeysToAppIDs map[string]string         `json:"hashed_sdk_keys_to_app_ids,omitempty"`

	HashedSDKKeysToEntities map[string]eval.KeyEntities `json:"hashed_sdk_keys_to_entities,omitempty"`

	DefaultEnvironment string `json:"default_environment,omitempty"`
}

// specV2 is a spec without its name, and with rules that name their conditions.
type specV2 struct {
	eval.Spec
	Name  *struct{} `json:"name,omitempty"` // hides the embedded one: the name is the map's key
	Rules []ruleV2  `json:"rules"`
}

type ruleV2 struct {
	eval.Rule
	Conditions []string `json:"conditions"`
}

// EncodeV2 returns the body of a v2 spec download, as the Rust core and every
// SDK built on it read it.
func EncodeV2(s eval.Specs) ([]byte, error) {
	out := specsV2{
		HasUpdates: true, Time: s.Time, ResponseFormat: "dcs-v2",
		Conditions:        map[string]eval.Condition{},
		ExperimentToLayer: map[string]string{},
		IDLists:           s.IDLists, AppID: s.AppID,
		SDKKeysToAppIDs: s.SDKKeysToAppIDs, HashedSDKKeysToAppIDs: s.HashedSDKKeysToAppIDs,
		HashedSDKKeysToEntities: s.HashedSDKKeysToEntities, DefaultEnvironment: s.DefaultEnvironment,
	}
	for layer, experiments := range s.Layers {
		for _, experiment := range experiments {
			out.ExperimentToLayer[experiment] = layer
		}
	}
	var err error
	if out.FeatureGates, err = byName(s.FeatureGates, out.Conditions); err != nil {
		return nil, err
	}
	if out.DynamicConfigs, err = byName(s.DynamicConfigs, out.Conditions); err != nil {
		return nil, err
	}
	if out.LayerConfigs, err = byName(s.LayerConfigs, out.Conditions); err != nil {
		return nil, err
	}
	body, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("encoding v2 specs: %w", err)
	}
	return body, nil
}

func byName(specs []eval.Spec, conditions map[string]eval.Condition) (map[string]specV2, error) {
	out := make(map[string]specV2, len(specs))
	for _, spec := range portable(specs) {
		rules := make([]ruleV2, len(spec.Rules))
		for i, rule := range spec.Rules {
			names := make([]string, len(rule.Conditions))
			for j, condition := range rule.Conditions {
				text, err := json.Marshal(condition)
				if err != nil {
					return nil, fmt.Errorf("encoding v2 specs: %s, rule %s: %w", spec.Name, rule.ID, err)
				}
				// The key is the content's digest, so that equal conditions
				// share an entry and a body depends on its specs alone.
				digest := sha256.Sum256(text)
				names[j] = hex.EncodeToString(digest[:8])
				conditions[names[j]] = condition
			}
			rules[i] = ruleV2{Rule: rule, Conditions: names}
		}
		out[spec.Name] = specV2{Spec: spec, Rules: rules}
	}
	return out, nil
}

// portable returns specs as every SDK family reads them: lists are never null,
// a disabled spec has no rules (core would run them), and what core demands as
// text is text, since one other value makes it refuse the whole body.
func portable(specs []eval.Spec) []eval.Spec {
	out := make([]eval.Spec, len(specs))
	for i, spec := range specs {
		if !spec.Enabled {
			spec.Rules = nil
		}
		rules := make([]eval.Rule, len(spec.Rules))
		for j, rule := range spec.Rules {
			conditions := make([]eval.Condition, len(rule.Conditions))
			for k, condition := range rule.Conditions {
				condition.AdditionalValues = textValues(condition.AdditionalValues)
				conditions[k] = condition
			}
			rule.Conditions = conditions
			rules[j] = rule
		}
		spec.Rules = rules
		out[i] = spec
	}
	return out
}

func textValues(values map[string]any) map[string]any {
	for _, v := range values {
		if _, ok := v.(string); ok {
			continue
		}
		out := make(map[string]any, len(values))
		for name, v := range values {
			if text, ok := v.(string); ok {
				out[name] = text
			} else {
				out[name] = fmt.Sprint(v)
			}
		}
		return out
	}
	return values
}
