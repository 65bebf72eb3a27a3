package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"

	growthbook "github.com/growthbook/growthbook-golang"
)

func growthBook() engine {
	ctx := context.Background()
	body := growthBookBody(0, true)
	users := growthBookUsers(growthBookClient(body))
	logging := growthBookUsers(growthBookClient(body,
		growthbook.WithExperimentCallback(func(context.Context, *growthbook.Experiment, *growthbook.ExperimentResult, *growthbook.TrackingUserContext, any) {
		}),
		growthbook.WithFeatureUsageCallback(func(context.Context, string, *growthbook.FeatureResult, any) {})))
	return engine{
		name: "GrowthBook",
		check: func(k kind) func(int) bool {
			name := k.key()
			return func(i int) bool { return users[i].EvalFeature(ctx, name).On }
		},
		color: func(i int) string {
			return fmt.Sprint(users[i].EvalFeature(ctx, variants.key()).Value.(object)["color"])
		},
		exposed: func(i int) { logging[i].EvalFeature(ctx, onOff.key()) },
		all: func() func(int) int {
			users := growthBookUsers(growthBookClient(growthBookBody(1000, true)))
			type entry struct {
				Value any    `json:"value"`
				Rule  string `json:"ruleId"`
			}
			return func(i int) int {
				out := map[string]entry{}
				for name := range users[i].Features() {
					res := users[i].EvalFeature(ctx, name)
					out[name] = entry{res.Value, res.RuleId}
				}
				return len(must(json.Marshal(out)))
			}
		},
		loader: func(n int) func() (any, func()) {
			body := growthBookBody(n, false)
			return func() (any, func()) {
				client := growthBookClient(body)
				return client, func() { _ = client.Close() }
			}
		},
	}
}

func growthBookFlag(f flagSpec) object {
	rules := func(r ...object) object { return object{"defaultValue": false, "rules": r} }
	switch f.kind {
	case suffix: // a regular expression is its native way
		return rules(object{"id": "r0", "force": true, "condition": object{
			"email": object{"$regex": strings.ReplaceAll(emailDomain, ".", `\.`) + "$"},
		}})
	case tenRules:
		var list []object
		for _, t := range targetings() {
			list = append(list, object{
				"id": t.id, "force": true, "coverage": 0.5, "seed": f.salt + t.id, "hashVersion": 2, "hashAttribute": "id",
				"condition": object{"country": object{"$in": t.countries}, "plan": t.plan, "appVersion": object{"$vgte": t.minVersion}},
			})
		}
		return rules(list...)
	case bigSegment:
		return rules(object{"id": "r0", "condition": object{"id": object{"$inGroup": "big"}}, "force": true})
	case variants:
		values := []object{configuration(0), configuration(1), configuration(2)}
		return rules(object{
			"id": "r0", "key": f.key + "_exp", "seed": f.salt, "hashVersion": 2, "hashAttribute": "id",
			"variations": values, "weights": []float64{0.333, 0.334, 0.333}, "coverage": 1,
		})
	case nested:
		return rules(object{"id": "r0", "force": true, "parentConditions": []object{
			{"id": segmentFlag, "condition": object{"value": true}, "gate": true},
		}})
	}
	return rules(object{"id": "r0", "force": true})
}

func growthBookBody(n int, segment bool) string {
	features := object{segmentFlag: growthBookFlag(flagSpec{kind: suffix})}
	for _, f := range flags(n) {
		features[f.key] = growthBookFlag(f)
	}
	groups := object{}
	if segment {
		groups["big"] = segmentIDs()
	}
	return string(must(json.Marshal(object{"features": features, "savedGroups": groups})))
}

func growthBookClient(body string, options ...growthbook.ClientOption) *growthbook.Client {
	options = append(options, growthbook.WithLogger(slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelError}))))
	client := must(growthbook.NewClient(context.Background(), options...))
	if err := client.UpdateFromApiResponseJSON(body); err != nil {
		panic(err)
	}
	return client
}

// growthBookUsers makes one client for each user, which is how that SDK is used.
func growthBookUsers(client *growthbook.Client) []*growthbook.Client {
	out := make([]*growthbook.Client, len(subjects))
	for i, s := range subjects {
		out[i] = must(client.WithAttributes(growthbook.Attributes{
			"id": s.id, "email": s.email, "country": s.country, "plan": s.plan, "appVersion": s.version,
		}))
	}
	return out
}
