package main

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	statsig "github.com/statsig-io/go-sdk"
)

type object = map[string]any

// statsigBody is a project as the body of a v1 spec download, which our engine
// reads too.
func statsigBody(n int) []byte {
	segment := statsigGate("segment:emp", "seg", statsigRule("rule_seg", 100, true, statsigEmail()))
	segment["entity"] = "segment"
	gates := []object{segment, statsigGate(segmentFlag, "mid", statsigRule("rule_mid", 100, true, statsigCondition("pass_gate", "", "", "segment:emp")))}
	var configs []object
	for _, f := range flags(n) {
		if f.kind == variants {
			configs = append(configs, statsigExperiment(f))
		} else {
			gates = append(gates, statsigGate(f.key, f.salt, statsigRules(f.kind)...))
		}
	}
	return must(json.Marshal(object{
		"has_updates": true, "time": 1_700_000_000_000, "layers": object{}, "layer_configs": []object{},
		"feature_gates": gates, "dynamic_configs": configs,
	}))
}

func statsigCondition(typ, operator, field string, target any) object {
	return object{"type": typ, "operator": operator, "field": field, "targetValue": target, "additionalValues": object{}, "idType": "userID"}
}

func statsigEmail() object {
	return statsigCondition("user_field", "str_ends_with_any", "email", []string{emailDomain})
}

func statsigRule(id string, percentage float64, value any, conditions ...object) object {
	return object{
		"name": id, "id": id, "groupName": id, "salt": id, "passPercentage": percentage,
		"conditions": conditions, "returnValue": value, "idType": "userID",
	}
}

func statsigGate(name, salt string, rules ...object) object {
	return object{
		"name": name, "type": "feature_gate", "entity": "feature_gate", "salt": salt, "enabled": true,
		"defaultValue": false, "rules": rules, "idType": "userID", "version": 3,
	}
}

func statsigRules(k kind) (rules []object) {
	switch k {
	case suffix:
		return append(rules, statsigRule("rule_00_email", 100, true, statsigEmail()))
	case tenRules:
		for _, t := range targetings() {
			rules = append(rules, statsigRule(t.id, 50, true,
				statsigCondition("user_field", "any", "country", t.countries),
				statsigCondition("user_field", "any", "plan", []string{t.plan}),
				statsigCondition("user_field", "version_gte", "appVersion", t.minVersion)))
		}
		return rules
	case bigSegment:
		return append(rules, statsigRule("rule_00_segment", 100, true, statsigCondition("unit_id", "in_segment_list", "", "big")))
	case nested:
		return append(rules, statsigRule("rule_00_nested", 100, true, statsigCondition("pass_gate", "", "", segmentFlag)))
	}
	return append(rules, statsigRule("rule_00_everyone", 100, true, statsigCondition("public", "", "", nil)))
}

func statsigExperiment(f flagSpec) object {
	var rules []object
	for i, bound := range bounds {
		c := statsigCondition("user_bucket", "lt", "", bound)
		c["additionalValues"] = object{"salt": f.salt}
		r := statsigRule(groupID(i), 100, configuration(i), c)
		r["isExperimentGroup"] = true
		rules = append(rules, r)
	}
	out := statsigGate(f.key, f.salt, rules...)
	out["type"], out["entity"], out["defaultValue"], out["isActive"] = "dynamic_config", "experiment", object{}, true
	return out
}

// statsigStore hands the SDK its specs and id lists, as a data adapter may.
type statsigStore map[string]string

func (s statsigStore) Get(key string) string                    { return s[key] }
func (statsigStore) Set(string, string)                         {}
func (statsigStore) Initialize()                                {}
func (statsigStore) Shutdown()                                  {}
func (statsigStore) ShouldBeUsedForQueryingUpdates(string) bool { return true }

func statsigClient(body string, segment, local bool) *statsig.Client {
	store := statsigStore{statsig.CONFIG_SPECS_KEY: body, statsig.ID_LISTS_KEY: "{}"}
	if segment {
		var list strings.Builder
		for _, id := range segmentIDs() {
			sum := sha256.Sum256([]byte(id))
			list.WriteString("+" + base64.StdEncoding.EncodeToString(sum[:])[:8] + "\n")
		}
		store[statsig.ID_LISTS_KEY+"::big"] = list.String()
		store[statsig.ID_LISTS_KEY] = string(must(json.Marshal(object{"big": object{
			"name": "big", "size": list.Len(), "url": "http://127.0.0.1/big", "fileID": "1", "creationTime": 1,
		}})))
	}
	return statsig.NewClientWithOptions("secret-bench", &statsig.Options{
		LocalMode: local, DataAdapter: store, Transport: nowhere{},
		ConfigSyncInterval: time.Hour, IDListSyncInterval: time.Hour,
		OutputLoggerOptions: statsig.OutputLoggerOptions{LogCallback: func(string, error) {}},
		IPCountryOptions:    statsig.IPCountryOptions{Disabled: true},
		UAParserOptions:     statsig.UAParserOptions{Disabled: true},
	})
}

func statsigGo() engine {
	client := statsigClient(string(statsigBody(0)), true, true)
	logging := statsigClient(string(statsigBody(0)), true, false)
	users := make([]statsig.User, len(subjects))
	for i, s := range subjects {
		users[i] = statsig.User{UserID: s.id, Email: s.email, Country: s.country, AppVersion: s.version, Custom: object{"plan": s.plan}}
	}
	return engine{
		name: "Statsig Go",
		check: func(k kind) func(int) bool {
			name := k.key()
			if k == variants {
				return func(i int) bool {
					return len(client.GetExperimentWithExposureLoggingDisabled(users[i], name).Value) > 0
				}
			}
			return func(i int) bool { return client.CheckGateWithExposureLoggingDisabled(users[i], name) }
		},
		rule: func(i int) string { return client.GetGateWithExposureLoggingDisabled(users[i], tenRules.key()).RuleID },
		color: func(i int) string {
			experiment := client.GetExperimentWithExposureLoggingDisabled(users[i], variants.key())
			return experiment.GetString("color", "")
		},
		exposed: func(i int) { logging.CheckGate(users[i], onOff.key()) },
		all: func() func(int) int {
			client := statsigClient(string(statsigBody(1000)), true, true)
			options := &statsig.GCIROptions{HashAlgorithm: "djb2"}
			return func(i int) int {
				return len(must(json.Marshal(client.GetClientInitializeResponseWithOptions(users[i], options))))
			}
		},
		loader: func(n int) func() (any, func()) {
			body := string(statsigBody(n))
			return func() (any, func()) {
				client := statsigClient(body, false, true)
				return client, client.Shutdown
			}
		},
	}
}
