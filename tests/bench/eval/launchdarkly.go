package main

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/launchdarkly/go-sdk-common/v3/ldcontext"
	"github.com/launchdarkly/go-sdk-common/v3/ldlog"
	"github.com/launchdarkly/go-sdk-common/v3/ldvalue"
	evaluation "github.com/launchdarkly/go-server-sdk-evaluation/v3"
	build "github.com/launchdarkly/go-server-sdk-evaluation/v3/ldbuilders"
	"github.com/launchdarkly/go-server-sdk-evaluation/v3/ldmodel"
	ld "github.com/launchdarkly/go-server-sdk/v7"
	"github.com/launchdarkly/go-server-sdk/v7/ldcomponents"
	"github.com/launchdarkly/go-server-sdk/v7/subsystems"
	"github.com/launchdarkly/go-server-sdk/v7/subsystems/ldstoreimpl"
	"github.com/launchdarkly/go-server-sdk/v7/subsystems/ldstoretypes"
)

// launchDarkly is the evaluation module alone, with flags found in a plain map.
func launchDarkly() engine {
	data := launchDarklyData(launchDarklyBody(0, true))
	evaluator := evaluation.NewEvaluator(data)
	users := launchDarklyUsers()
	return engine{
		name: "LaunchDarkly evaluator",
		check: func(k kind) func(int) bool {
			name := k.key()
			if k == variants {
				return func(i int) bool {
					return evaluator.Evaluate(data.flags[name], users[i], nil).Detail.Value.Count() > 0
				}
			}
			return func(i int) bool { return evaluator.Evaluate(data.flags[name], users[i], nil).Detail.Value.BoolValue() }
		},
		rule: func(i int) string {
			return evaluator.Evaluate(data.flags[tenRules.key()], users[i], nil).Detail.Reason.GetRuleID()
		},
		color: func(i int) string {
			return evaluator.Evaluate(data.flags[variants.key()], users[i], nil).Detail.Value.GetByKey("color").StringValue()
		},
	}
}

// launchDarklySDK is the whole server SDK over its store in memory.
func launchDarklySDK() engine {
	body := launchDarklyBody(0, true)
	client, logging := launchDarklyClient(body, false), launchDarklyClient(body, true)
	users := launchDarklyUsers()
	return engine{
		name: "LaunchDarkly SDK",
		check: func(k kind) func(int) bool {
			name := k.key()
			if k == variants {
				return func(i int) bool { v, _ := client.JSONVariation(name, users[i], ldvalue.Null()); return v.Count() > 0 }
			}
			return func(i int) bool { on, _ := client.BoolVariation(name, users[i], false); return on }
		},
		rule: func(i int) string {
			_, detail, _ := client.BoolVariationDetail(tenRules.key(), users[i], false)
			return detail.Reason.GetRuleID()
		},
		color: func(i int) string {
			v, _ := client.JSONVariation(variants.key(), users[i], ldvalue.Null())
			return v.GetByKey("color").StringValue()
		},
		exposed: func(i int) { _, _ = logging.BoolVariation(onOff.key(), users[i], false) },
		all: func() func(int) int {
			client := launchDarklyClient(launchDarklyBody(1000, true), false)
			return func(i int) int { return len(must(json.Marshal(client.AllFlagsState(users[i])))) }
		},
		loader: func(n int) func() (any, func()) {
			body := launchDarklyBody(n, false)
			return func() (any, func()) {
				client := launchDarklyClient(body, false)
				return client, func() { _ = client.Close() }
			}
		},
	}
}

func launchDarklyUsers() []ldcontext.Context {
	out := make([]ldcontext.Context, len(subjects))
	for i, s := range subjects {
		out[i] = ldcontext.NewBuilder(s.id).SetString("email", s.email).SetString("country", s.country).
			SetString("plan", s.plan).SetString("appVersion", s.version).Build()
	}
	return out
}

func launchDarklyFlag(f flagSpec) ldmodel.FeatureFlag {
	b := build.NewFlagBuilder(f.key).On(true).Salt(f.salt).Version(3).ClientSideUsingEnvironmentID(true).
		Variations(ldvalue.Bool(true), ldvalue.Bool(false)).OffVariation(1).FallthroughVariation(1)
	one := func(c ldmodel.Clause) { b.AddRule(build.NewRuleBuilder().ID("rule_00").Variation(0).Clauses(c)) }
	switch f.kind {
	case onOff:
		b.FallthroughVariation(0)
	case suffix:
		one(build.Clause("email", ldmodel.OperatorEndsWith, ldvalue.String(emailDomain)))
	case tenRules:
		for _, t := range targetings() {
			var countries []ldvalue.Value
			for _, c := range t.countries {
				countries = append(countries, ldvalue.String(c))
			}
			b.AddRule(build.NewRuleBuilder().ID(t.id).
				VariationOrRollout(build.Rollout(build.Bucket(0, 50_000), build.Bucket(1, 50_000))).
				Clauses(
					build.Clause("country", ldmodel.OperatorIn, countries...),
					build.Clause("plan", ldmodel.OperatorIn, ldvalue.String(t.plan)),
					build.Negate(build.Clause("appVersion", ldmodel.OperatorSemVerLessThan, ldvalue.String(t.minVersion)))))
		}
	case bigSegment:
		one(build.SegmentMatchClause("big"))
	case variants:
		var values []ldvalue.Value
		for i := range bounds {
			values = append(values, ldvalue.CopyArbitraryValue(configuration(i)))
		}
		b.Variations(values...).OffVariation(0).
			Fallthrough(build.Experiment(ldvalue.OptionalInt{}, build.Bucket(0, 33_300), build.Bucket(1, 33_400), build.Bucket(2, 33_300)))
	case nested:
		b.FallthroughVariation(0).AddPrerequisite(segmentFlag, 0)
	}
	return b.Build()
}

// launchDarklyBody is a project as the vendor's stream would send it.
func launchDarklyBody(n int, segment bool) []byte {
	serial := ldmodel.NewJSONDataModelSerialization()
	byKey, segments := map[string]json.RawMessage{}, map[string]json.RawMessage{}
	middle := build.NewFlagBuilder(segmentFlag).On(true).OffVariation(1).FallthroughVariation(1).
		Variations(ldvalue.Bool(true), ldvalue.Bool(false)).
		AddRule(build.NewRuleBuilder().ID("rule_mid").Variation(0).Clauses(build.SegmentMatchClause("emp"))).Build()
	byKey[segmentFlag] = must(serial.MarshalFeatureFlag(middle))
	for _, f := range flags(n) {
		byKey[f.key] = must(serial.MarshalFeatureFlag(launchDarklyFlag(f)))
	}
	segments["emp"] = must(serial.MarshalSegment(build.NewSegmentBuilder("emp").AddRule(build.NewSegmentRuleBuilder().
		Clauses(build.Clause("email", ldmodel.OperatorEndsWith, ldvalue.String(emailDomain)))).Build()))
	if segment {
		segments["big"] = must(serial.MarshalSegment(build.NewSegmentBuilder("big").Included(segmentIDs()...).Build()))
	}
	return must(json.Marshal(object{"flags": byKey, "segments": segments}))
}

// launchDarklyParse reads such a body as the SDK's own data source does.
func launchDarklyParse(body []byte) []ldstoretypes.Collection {
	var raw struct{ Flags, Segments map[string]json.RawMessage }
	if err := json.Unmarshal(body, &raw); err != nil {
		panic(err)
	}
	collection := func(kind ldstoretypes.DataKind, items map[string]json.RawMessage) ldstoretypes.Collection {
		c := ldstoretypes.Collection{Kind: kind}
		for key, item := range items {
			c.Items = append(c.Items, ldstoretypes.KeyedItemDescriptor{Key: key, Item: must(kind.Deserialize(item))})
		}
		return c
	}
	return []ldstoretypes.Collection{collection(ldstoreimpl.Features(), raw.Flags), collection(ldstoreimpl.Segments(), raw.Segments)}
}

// launchDarklyProvider hands parsed data to the evaluation module.
type launchDarklyProvider struct {
	flags    map[string]*ldmodel.FeatureFlag
	segments map[string]*ldmodel.Segment
}

func (p *launchDarklyProvider) GetFeatureFlag(key string) *ldmodel.FeatureFlag { return p.flags[key] }
func (p *launchDarklyProvider) GetSegment(key string) *ldmodel.Segment         { return p.segments[key] }

func launchDarklyData(body []byte) *launchDarklyProvider {
	p := &launchDarklyProvider{map[string]*ldmodel.FeatureFlag{}, map[string]*ldmodel.Segment{}}
	collections := launchDarklyParse(body)
	for _, item := range collections[0].Items {
		p.flags[item.Key] = item.Item.Item.(*ldmodel.FeatureFlag)
	}
	for _, item := range collections[1].Items {
		p.segments[item.Key] = item.Item.Item.(*ldmodel.Segment)
	}
	return p
}

// launchDarklySource is a data source that has everything at once.
type launchDarklySource struct {
	body []byte
	sink subsystems.DataSourceUpdateSink
}

func (s *launchDarklySource) Build(c subsystems.ClientContext) (subsystems.DataSource, error) {
	s.sink = c.GetDataSourceUpdateSink()
	return s, nil
}
func (*launchDarklySource) IsInitialized() bool { return true }
func (*launchDarklySource) Close() error        { return nil }
func (s *launchDarklySource) Start(ready chan<- struct{}) {
	s.sink.Init(launchDarklyParse(s.body))
	close(ready)
}

func launchDarklyClient(body []byte, events bool) *ld.LDClient {
	config := ld.Config{
		DataSource: &launchDarklySource{body: body}, Events: ldcomponents.NoEvents(), DiagnosticOptOut: true,
		Logging: ldcomponents.Logging().MinLevel(ldlog.None),
		HTTP:    ldcomponents.HTTPConfiguration().HTTPClientFactory(func() *http.Client { return &http.Client{Transport: nowhere{}} }),
	}
	if events {
		config.Events = ldcomponents.SendEvents()
	}
	return must(ld.MakeCustomClient("sdk-bench", config, 30*time.Second))
}
