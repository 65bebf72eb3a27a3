package oneanswer

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/internal/ofrep"
	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/tests/harness"
)

// remote are the voices of the edge, with a server key and a client key. Those
// that need a request for each entity take turns: one user asks with the one key,
// the next with the other.
func (h *hearing) remote(number int) (out []voice) {
	for _, client := range []bool{false, true} {
		key, whose := h.server, "a server key"
		if client {
			key, whose = h.client, "a client key"
		}
		if client == (number%2 == 0) {
			out = append(out,
				voice{name: "check_gate and its like, with " + whose, client: client, ask: h.checks(key)},
				voice{name: "the features endpoints, with " + whose, client: client, partial: true, ask: h.features(key)},
				voice{name: "OFREP one by one, with " + whose, client: client, listing: true, ask: h.single(key, client)},
			)
		}
		out = append(out, voice{name: "OFREP at once, with " + whose, client: client, listing: true, ask: h.bulk(key, client)})
		for _, mode := range []eval.HashMode{eval.HashNone, eval.HashDJB2, eval.HashSHA256} {
			out = append(out, voice{
				name: "initialize with names by " + mode.String() + ", with " + whose, client: client, listing: true, payload: true,
				ask: h.initialize(key, mode),
			})
		}
	}
	return out
}

// unlogged keeps tens of thousands of exposures from the warehouse.
var unlogged = harness.Doc{"exposureLoggingDisabled": true}

// post asks an endpoint and reads an answer of a status that is expected.
func (h *hearing) post(key, path string, in, out any, also ...int) (status int, err error) {
	got, err := h.project.Do(key, "POST", path, in, "Authorization", "Bearer "+key)
	if err == nil && got.Status != http.StatusOK {
		for _, status := range also {
			if got.Status == status {
				return status, json.Unmarshal(got.Body, out)
			}
		}
		err = fmt.Errorf("POST %s answered %d %s", path, got.Status, got.Body)
	}
	if err == nil {
		err = json.Unmarshal(got.Body, out)
	}
	return got.Status, err
}

// checks asks check_gate for all gates at once, and for the others one by one.
// Of layers, get_layer does not tell the group, as the vendor's does not; of what
// it does not know it answers 404.
func (h *hearing) checks(key string) func(eval.User, int) (map[entity]answer, error) {
	type told struct {
		Value      any     `json:"value"`
		RuleID     *string `json:"rule_id"`
		GroupName  *string `json:"group_name"`
		LayerRule  *string `json:"ruleID"`
		Experiment *string `json:"allocatedExperimentName"`
	}
	return func(u eval.User, _ int) (map[entity]answer, error) {
		out := map[entity]answer{}
		var names []string
		for _, e := range h.entities {
			var got told
			var err error
			status := http.StatusOK
			switch e.ref().Section {
			case eval.Gates:
				names = append(names, e.name)
				continue
			case eval.Configs:
				_, err = h.post(key, "/v1/get_config", harness.Doc{"configName": e.name, "user": u, "statsigMetadata": unlogged}, &got)
			case eval.Layers:
				status, err = h.post(key, "/v1/get_layer", harness.Doc{"layerName": e.name, "user": u, "statsigMetadata": unlogged}, &got, http.StatusNotFound)
			}
			switch {
			case err != nil:
				return nil, err
			case status == http.StatusNotFound:
			case e.kind == flags.KindLayer:
				out[e] = answer{Value: got.Value, Rule: got.LayerRule, Experiment: orEmpty(got.Experiment)}
			default:
				out[e] = answer{Value: got.Value, Rule: orEmpty(got.RuleID), Group: orEmpty(got.GroupName)}
			}
		}
		var gates map[string]told
		if _, err := h.post(key, "/v1/check_gate", harness.Doc{"gateNames": names, "user": u, "statsigMetadata": unlogged}, &gates); err != nil {
			return nil, err
		}
		for _, e := range h.entities {
			if got, ok := gates[e.name]; ok && e.ref().Section == eval.Gates {
				out[e] = answer{Value: got.Value, Rule: orEmpty(got.RuleID), Group: orEmpty(got.GroupName)}
			}
		}
		return out, nil
	}
}

// orEmpty reads null, which stands for no rule and no group.
func orEmpty(s *string) *string {
	if s == nil {
		return new("")
	}
	return s
}

// features asks the two convenience endpoints, which tell the value alone.
func (h *hearing) features(key string) func(eval.User, int) (map[entity]answer, error) {
	return func(u eval.User, _ int) (map[entity]answer, error) {
		out := map[entity]answer{}
		query := "?exposure=0&user=" + url.QueryEscape(string(encoded(u)))
		for _, e := range h.entities {
			path := "/features/config/"
			switch e.ref().Section {
			case eval.Gates:
				path = "/features/gate/"
			case eval.Layers:
				continue
			}
			got, err := h.project.Do(key, "GET", path+url.PathEscape(e.name)+query, nil)
			if err != nil {
				return nil, err
			}
			if got.Status != http.StatusOK {
				return nil, fmt.Errorf("GET %s%s answered %d %s", path, e.name, got.Status, got.Body)
			}
			var told struct {
				Enabled *bool
				Value   any
			}
			if err := json.Unmarshal(got.Body, &told); err != nil {
				return nil, err
			}
			if told.Enabled != nil {
				told.Value = *told.Enabled
			}
			out[e] = answer{Value: told.Value}
		}
		return out, nil
	}
}

// initialize asks for the payload of a client, in which names are hashed. It has
// no groups for gates.
func (h *hearing) initialize(key string, mode eval.HashMode) func(eval.User, int) (map[entity]answer, error) {
	return func(u eval.User, _ int) (map[entity]answer, error) {
		var body json.RawMessage
		if _, err := h.post(key, "/v1/initialize", harness.Doc{"user": u, "hash": mode.String()}, &body); err != nil {
			return nil, err
		}
		held, err := newPayload(body)
		if err != nil {
			return nil, err
		}
		return h.entries(held, mode), nil
	}
}

// A payload is the sections of an initialize response, as clients hold them.
type payload map[string]map[string]json.RawMessage

func newPayload(body []byte) (payload, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil {
		return nil, err
	}
	out := payload{}
	for _, section := range []eval.Section{eval.Gates, eval.Configs, eval.Layers} {
		var entries map[string]json.RawMessage
		if err := json.Unmarshal(members[section.String()], &entries); err != nil {
			return nil, fmt.Errorf("the %s: %w", section, err)
		}
		out[section.String()] = entries
	}
	return out, nil
}

// entries reads a payload. What it has beyond what was made shows up under the
// name that it has there.
func (h *hearing) entries(held payload, mode eval.HashMode) map[entity]answer {
	type told struct {
		Value      any    `json:"value"`
		RuleID     string `json:"rule_id"`
		GroupName  string `json:"group_name"`
		Experiment string `json:"allocated_experiment_name"`
	}
	out, read := map[entity]answer{}, map[eval.Ref]bool{}
	named := map[string]string{"": ""} // experiments by their hash
	for _, e := range h.entities {
		named[eval.HashName(mode, e.name)] = e.name
	}
	for _, e := range h.entities {
		section, hashed := e.ref().Section, eval.HashName(mode, e.name)
		raw, ok := held[section.String()][hashed]
		if !ok {
			continue
		}
		read[eval.Ref{Section: section, Name: hashed}] = true
		var got told
		if err := json.Unmarshal(raw, &got); err != nil {
			got.Value = err.Error()
		}
		a := answer{Value: got.Value, Rule: &got.RuleID}
		if section != eval.Gates {
			a.Group, a.Experiment = &got.GroupName, new(named[got.Experiment])
		}
		out[e] = a
	}
	for _, section := range []eval.Section{eval.Gates, eval.Configs, eval.Layers} {
		for hashed := range held[section.String()] {
			if !read[eval.Ref{Section: section, Name: hashed}] {
				out[entity{flags.Kind(section.String()), hashed}] = answer{}
			}
		}
	}
	return out
}

// single asks OFREP for one flag after the other, by the key that cannot mean
// another flag.
func (h *hearing) single(key string, client bool) func(eval.User, int) (map[entity]answer, error) {
	return func(u eval.User, number int) (map[entity]answer, error) {
		out := map[entity]answer{}
		for _, e := range h.entities {
			if e.kind == flags.KindHoldout {
				continue
			}
			var got ofrep.Evaluation
			path := ofrep.PathFlags + "/" + url.PathEscape(string(e.kind)+":"+e.name) + "?exposure=0"
			status, err := h.post(key, path, harness.Doc{"context": h.context(u, number)}, &got, http.StatusNotFound, http.StatusBadRequest)
			if err != nil {
				return nil, err
			}
			if status != http.StatusNotFound {
				out[e] = h.evaluated(e, got, u, client)
			}
		}
		return out, nil
	}
}

// bulk asks OFREP for all flags and their parameters. Each parameter is what the
// whole has of it; those without a name cannot be asked for, and null is no value.
func (h *hearing) bulk(key string, client bool) func(eval.User, int) (map[entity]answer, error) {
	return func(u eval.User, number int) (map[entity]answer, error) {
		var set struct{ Flags []ofrep.Evaluation }
		if _, err := h.post(key, ofrep.PathFlags+"?include=params", harness.Doc{"context": h.context(u, number)}, &set); err != nil {
			return nil, err
		}
		listed := map[string]ofrep.Evaluation{}
		for _, f := range set.Flags {
			listed[f.Key] = f
		}
		out := map[entity]answer{}
		for _, kind := range []flags.Kind{flags.KindGate, flags.KindExperiment, flags.KindConfig, flags.KindLayer} {
			for _, e := range h.entities {
				if e.kind != kind {
					continue
				}
				// A name that two kinds have is that of the first that the key may see; the
				// other is listed under its exact key. A name that begins like an exact key
				// is told apart by what it says.
				want, known := h.reference(e, voice{client: client, listing: true}, u)
				exact := string(kind) + ":" + e.name
				for _, name := range []string{exact, e.name} {
					if f, ok := listed[name]; ok && (f.Metadata == nil && known || f.Metadata != nil && f.Metadata.Kind == string(kind)) {
						delete(listed, name)
						out[e] = h.evaluated(e, f, u, client)
						break
					}
				}
				parameters, _ := want.Value.(map[string]any)
				for name, value := range parameters {
					f, ok := listed[exact+":"+name]
					delete(listed, exact+":"+name)
					switch {
					case ok != (name != ""):
						return nil, fmt.Errorf("the parameter %q of the %s %q is listed: %v", name, e.kind, e.name, ok)
					case name == "" || value == nil && f.Value == nil:
					default:
						if got := h.evaluated(e, f, u, client); got.Value != nil && !cmp.Equal(value, got.Value) {
							return nil, fmt.Errorf("the parameter %q of the %s %q is %v; want %v", name, e.kind, e.name, got.Value, value)
						}
					}
				}
			}
		}
		for name := range listed {
			out[entity{"flag", name}] = answer{}
		}
		return out, nil
	}
}

// evaluated reads an evaluation. Where the flag leaves the choice to code there is
// no value on purpose. Where the answer hangs on a unit that the user has not,
// protocols of Statsig give the answer for nobody, and OpenFeature none.
func (h *hearing) evaluated(e entity, got ofrep.Evaluation, u eval.User, client bool) answer {
	if client {
		u = completed(u)
	}
	_, missing := h.rules.MissingUnit(&u, e.ref(), func(id string) bool { return flags.KindOfRule(id) == flags.RuleOverride })
	missing = missing && u.UserID == ""
	switch {
	case missing != (got.ErrorCode == ofrep.TargetingKeyMissing):
		return answer{Value: fmt.Sprintf("the error %q; a unit is missing: %v", got.ErrorCode, missing)}
	case missing:
		return answer{}
	case got.ErrorCode != "" || got.Metadata == nil || got.Metadata.Kind != string(e.kind):
		return answer{Value: string(encoded(got))}
	}
	a := answer{Rule: &got.Metadata.RuleID, Group: &got.Metadata.GroupName}
	if e.kind == flags.KindLayer {
		a.Experiment = &got.Metadata.Experiment
	}
	if deferred := h.deferred(e); deferred != (got.Value == nil) || deferred != got.Metadata.Deferred {
		a.Value = fmt.Sprintf("the value %s; left to code: %v", got.Value, deferred)
	} else if !deferred {
		a.Value = decoded(got.Value)
	}
	return a
}

// deferred says whether people left the default to code.
func (h *hearing) deferred(e entity) bool {
	for _, d := range h.drawn.Documents {
		if made, _ := entityOf(d); made != e {
			continue
		}
		switch d := d.(type) {
		case *flags.Gate:
			return d.DeferToCode
		case *flags.Config:
			return d.DeferToCode
		case *flags.Experiment:
			return d.DeferToCode
		case *flags.Layer:
			return d.DeferToCode
		}
	}
	return false
}

// context says in OpenFeature's way who a user is: in the three ways that there
// are to say what is custom, by turns.
func (h *hearing) context(u eval.User, number int) map[string]any {
	var out map[string]any
	_ = json.Unmarshal(encoded(u), &out) // the names of properties are the same
	delete(out, "statsigEnvironment")
	if number%2 == 0 && u.UserID != "" {
		delete(out, "userID")
		out["targetingKey"] = u.UserID
	}
	if number%3 > 0 {
		delete(out, "custom")
		for name, v := range u.Custom {
			out[name] = v
		}
	}
	if number%3 > 1 {
		delete(out, "customIDs")
		for name, id := range u.CustomIDs {
			out[name] = id
		}
	}
	if tier := u.StatsigEnvironment["tier"]; tier != "" {
		out["tier"] = tier
	}
	return out
}
