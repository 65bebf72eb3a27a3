package eval

import "encoding/json"

// Specs is everything that one key may evaluate: the body of a v1 spec
// download. Its JSON form is what server SDKs read; [ParseSpecs] reads it, and
// the name-keyed v2 form, without reflection and without giving up on the whole
// body because of one odd entity.
type Specs struct {
	HasUpdates     bool   `json:"has_updates"`
	Time           int64  `json:"time"` // last change in milliseconds; rises strictly
	FeatureGates   []Spec `json:"feature_gates"`
	DynamicConfigs []Spec `json:"dynamic_configs"`
	LayerConfigs   []Spec `json:"layer_configs"`

	// Layers lists the experiments of each layer.
	Layers map[string][]string `json:"layers"`
	// IDLists names the id lists that rules may mention; their members travel
	// apart, as [IDList].
	IDLists map[string]bool `json:"id_lists,omitempty"`

	AppID                   string                 `json:"app_id,omitempty"` // target_app outside client payloads
	SDKKeysToAppIDs         map[string]string      `json:"sdk_keys_to_app_ids,omitempty"`
	HashedSDKKeysToAppIDs   map[string]string      `json:"hashed_sdk_keys_to_app_ids,omitempty"` // djb2 of the client key
	HashedSDKKeysToEntities map[string]KeyEntities `json:"hashed_sdk_keys_to_entities,omitempty"`
	DefaultEnvironment      string                 `json:"default_environment,omitempty"` // tier of users who name none

	// Unreadable lists the entities that [ParseSpecs] had to leave out.
	Unreadable []Quarantine `json:"-"`
}

// KeyEntities is the allow-list of one client key: a key that has one sees the
// listed gates and configs only.
type KeyEntities struct {
	Gates   []string `json:"gates"`
	Configs []string `json:"configs"`
}

// The entities that a [Spec] can be.
const (
	EntityGate       = "feature_gate"
	EntityConfig     = "dynamic_config"
	EntityExperiment = "experiment"
	EntityAutotune   = "autotune"
	EntityLayer      = "layer"
	EntitySegment    = "segment"
	EntityHoldout    = "holdout"
)

// A Spec is one evaluable definition. Gates, segments and holdouts answer yes or
// no; configs, experiments and layers answer with a JSON object.
type Spec struct {
	Name         string          `json:"name"`
	Type         string          `json:"type"` // feature_gate or dynamic_config
	Salt         string          `json:"salt"`
	Enabled      bool            `json:"enabled"`
	DefaultValue json.RawMessage `json:"defaultValue"`
	Rules        []Rule          `json:"rules"`
	IDType       string          `json:"idType"`
	Entity       string          `json:"entity"`
	Version      int64           `json:"version,omitempty"`

	IsActive            *bool    `json:"isActive,omitempty"`           // experiments: running
	HasSharedParams     *bool    `json:"hasSharedParams,omitempty"`    // experiments: lives in a layer
	ExplicitParameters  []string `json:"explicitParameters,omitempty"` // parameters that the experiment owns
	TargetAppIDs        []string `json:"targetAppIDs,omitempty"`
	ForwardAllExposures bool     `json:"forwardAllExposures,omitempty"`

	// DeferToCode is a word of ours that SDKs pass over: OpenFeature clients keep
	// the default in their code, whatever is decided.
	DeferToCode bool `json:"deferToCode,omitempty"`
}

// A Rule decides for the users who meet all its conditions: those within its
// percentage get its return value, the others the default, and in both cases
// later rules are not asked.
type Rule struct {
	Name              string          `json:"name"`
	ID                string          `json:"id"`
	GroupName         string          `json:"groupName,omitempty"`
	PassPercentage    float64         `json:"passPercentage"`
	Salt              *string         `json:"salt,omitempty"` // nil: the id is the salt
	Conditions        []Condition     `json:"conditions"`
	ReturnValue       json.RawMessage `json:"returnValue"`
	IDType            string          `json:"idType"`
	ConfigDelegate    string          `json:"configDelegate,omitempty"` // the config that decides instead; of layers, their experiment
	IsExperimentGroup *bool           `json:"isExperimentGroup,omitempty"`
	SamplingRate      int64           `json:"samplingRate,omitempty"`
}

// A Condition compares one value of the user, or of its surroundings, with a
// target.
type Condition struct {
	Type             string          `json:"type"`
	Operator         string          `json:"operator,omitempty"`
	Field            string          `json:"field,omitempty"`
	TargetValue      json.RawMessage `json:"targetValue,omitempty"`
	AdditionalValues map[string]any  `json:"additionalValues,omitempty"`
	IDType           string          `json:"idType"`
}

// A Section is one of the three name spaces of specs.
type Section uint8

// The sections, in the order in which bodies and payloads list them.
const (
	Gates Section = iota
	Configs
	Layers
	sections = 3
)

// String returns the section's name on the wire.
func (s Section) String() string {
	switch s {
	case Gates:
		return "feature_gates"
	case Configs:
		return "dynamic_configs"
	case Layers:
		return "layer_configs"
	}
	return "unknown_section"
}

// A Ref names one spec.
type Ref struct {
	Section Section
	Name    string
}

// Section returns the name space that the spec's entity belongs to.
func (s *Spec) Section() Section {
	switch s.Entity {
	case EntityLayer:
		return Layers
	case EntityConfig, EntityExperiment, EntityAutotune:
		return Configs
	}
	return Gates
}

// Ref returns the name under which the spec is evaluated.
func (s *Spec) Ref() Ref { return Ref{s.Section(), s.Name} }
