package openfeature_test

import (
	"context"
	"testing"

	of "github.com/open-feature/go-sdk/openfeature"

	sluice "github.com/sluice-flags/sluice/sdk/go"
	"github.com/sluice-flags/sluice/sdk/go/openfeature"
)

const project = `{"has_updates":true,"time":1700000000000,
"feature_gates":[
 {"name":"checkout","type":"feature_gate","entity":"feature_gate","salt":"a","enabled":true,"defaultValue":false,"idType":"userID","rules":[
  {"name":"Pro","groupName":"Pro","id":"pro:100.00:1","passPercentage":100,"returnValue":true,"idType":"userID","conditions":[
   {"type":"user_field","field":"plan","operator":"any","targetValue":["pro"],"idType":"userID"}]},
  {"name":"Acme","groupName":"Acme","id":"acme:100.00:1","passPercentage":100,"returnValue":true,"idType":"userID","conditions":[
   {"type":"unit_id","operator":"any","targetValue":["acme"],"idType":"companyID"}]}]},
 {"name":"off","type":"feature_gate","entity":"feature_gate","salt":"b","enabled":false,"defaultValue":false,"idType":"userID","rules":[]},
 {"name":"everyone","type":"feature_gate","entity":"feature_gate","salt":"g","enabled":true,"defaultValue":false,"idType":"userID","rules":[
  {"name":"All","id":"all:100.00:1","passPercentage":100,"returnValue":true,"idType":"userID","conditions":[{"type":"public","idType":"userID"}]}]},
 {"name":"deferred","type":"feature_gate","entity":"feature_gate","salt":"h","enabled":true,"defaultValue":false,"idType":"userID","deferToCode":true,"rules":[]},
 {"name":"segment:vips","type":"feature_gate","entity":"segment","salt":"i","enabled":true,"defaultValue":false,"idType":"userID","rules":[]},
 {"name":"half","type":"feature_gate","entity":"feature_gate","salt":"c","enabled":true,"defaultValue":false,"idType":"userID","rules":[
  {"name":"Half","id":"half:50.00:1","passPercentage":50,"returnValue":true,"idType":"userID","conditions":[{"type":"public","idType":"userID"}]}]}],
"dynamic_configs":[
 {"name":"banner","type":"dynamic_config","entity":"dynamic_config","salt":"d","enabled":true,"defaultValue":{"text":"hi","size":1.5,"count":3,"on":true},"idType":"userID","rules":[]},
 {"name":"button","type":"dynamic_config","entity":"experiment","salt":"e","enabled":true,"isActive":true,"defaultValue":{},"idType":"userID","rules":[
  {"name":"grp","groupName":"Control","id":"grp_1","isExperimentGroup":true,"passPercentage":100,"returnValue":{"color":"grey"},"idType":"userID","conditions":[
   {"type":"user_bucket","operator":"lt","targetValue":1000,"additionalValues":{"salt":"e"},"idType":"userID"}]}]}],
"layer_configs":[{"name":"home","type":"dynamic_config","entity":"layer","salt":"f","enabled":true,"defaultValue":{"layout":"list"},"idType":"userID","rules":[]}]}`

// client returns an OpenFeature client over a provider that decides by project.
func client(t *testing.T, bootstrap string) of.IClient {
	t.Helper()
	options := []sluice.Option{sluice.WithLocalMode()}
	if bootstrap != "" {
		options = append(options, sluice.WithBootstrap([]byte(bootstrap)))
	}
	c, err := sluice.New("", options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) }) // in local mode nothing is queued
	p := openfeature.NewProvider(c, "companyID")
	if err := of.SetNamedProviderAndWait(t.Name(), p); err != nil {
		t.Fatal(err)
	}
	return of.NewClient(t.Name())
}

func TestFlagsInTheWordsOfOpenFeature(t *testing.T) {
	c, ctx := client(t, project), context.Background()
	ann := of.NewEvaluationContext("ann", map[string]any{"plan": "pro"})
	bob := of.NewEvaluationContext("bob", nil)
	acme := of.NewEvaluationContext("bob", map[string]any{"CompanyID": "acme"})
	for _, g := range []struct {
		flag, variant string
		user          of.EvaluationContext
		want          bool
		reason        of.Reason
		code          of.ErrorCode
	}{
		{"checkout", "on", ann, true, of.TargetingMatchReason, ""},
		{"gate:checkout", "on", ann, true, of.TargetingMatchReason, ""},
		{"checkout", "on", acme, true, of.TargetingMatchReason, ""},
		{"checkout", "off", bob, false, of.DefaultReason, ""},
		{"off", "off", ann, false, of.DisabledReason, ""},
		{"config:banner:on", "default", ann, true, of.DefaultReason, ""},
		{"everyone", "on", bob, true, of.StaticReason, ""},
		{"deferred", "off", ann, true, of.DefaultReason, ""}, // the code's own
		{"segment:vips", "", ann, true, of.ErrorReason, of.FlagNotFoundCode},
		{"experiment:banner", "", ann, true, of.ErrorReason, of.FlagNotFoundCode},
		{"half", "", of.NewTargetlessEvaluationContext(nil), true, of.ErrorReason, of.TargetingKeyMissingCode},
		{"everyone", "on", of.NewTargetlessEvaluationContext(nil), true, of.StaticReason, ""},
		{"nothing", "", ann, true, of.ErrorReason, of.FlagNotFoundCode},
		{"banner", "", ann, true, of.ErrorReason, of.TypeMismatchCode},
		{"config:checkout", "", ann, true, of.ErrorReason, of.FlagNotFoundCode},
	} {
		d, _ := c.BooleanValueDetails(ctx, g.flag, true, g.user)
		if d.Value != g.want || d.Reason != g.reason || d.Variant != g.variant || d.ErrorCode != g.code {
			t.Errorf("BooleanValueDetails(%s) = %v, %s, %q, %s; want %v, %s, %q, %s",
				g.flag, d.Value, d.Reason, d.Variant, d.ErrorCode, g.want, g.reason, g.variant, g.code)
		}
	}
	if d, _ := c.BooleanValueDetails(ctx, "half", false, ann); d.Reason != of.SplitReason {
		t.Errorf("a gate for half has the reason %s, want SPLIT", d.Reason)
	}
	if d, _ := c.StringValueDetails(ctx, "config:banner:text", "code", bob); d.Value != "hi" || d.Reason != of.DefaultReason {
		t.Errorf("a text = %q, %s; want hi by DEFAULT", d.Value, d.Reason)
	}
	if got, _ := c.FloatValue(ctx, "config:banner:size", 0, bob); got != 1.5 {
		t.Errorf("a number = %v, want 1.5", got)
	}
	if got, _ := c.IntValue(ctx, "config:banner:count", 0, bob); got != 3 {
		t.Errorf("a whole number = %v, want 3", got)
	}
	if d, _ := c.IntValueDetails(ctx, "config:banner:size", 7, bob); d.Value != 7 || d.ErrorCode != of.TypeMismatchCode {
		t.Errorf("a fraction as a whole number = %d, %s; want the default and TYPE_MISMATCH", d.Value, d.ErrorCode)
	}
	if got, _ := c.StringValue(ctx, "layer:home:layout", "code", bob); got != "list" {
		t.Errorf("a layer's parameter = %q, want list", got)
	}
	d, _ := c.ObjectValueDetails(ctx, "button", nil, bob)
	if value, _ := d.Value.(map[string]any); value["color"] != "grey" || d.Reason != of.SplitReason || d.Variant != "Control" || d.FlagMetadata["kind"] != "experiment" {
		t.Errorf("an experiment = %v, %s, %q; want grey by SPLIT in Control", d.Value, d.Reason, d.Variant)
	}
	if d, _ := c.BooleanValueDetails(ctx, "checkout", true, of.NewEvaluationContext("ann", map[string]any{"custom": "x"})); d.ErrorCode != of.InvalidContextCode {
		t.Errorf("a context that describes nobody has the error %s, want INVALID_CONTEXT", d.ErrorCode)
	}
	c.Track(ctx, "purchase", ann, of.NewTrackingEventDetails(12.5).Add("currency", "EUR")) // local mode sends nothing
}

func TestWithoutDefinitionsTheProviderIsNotReady(t *testing.T) {
	c := client(t, "")
	d, _ := c.BooleanValueDetails(context.Background(), "checkout", true, of.EvaluationContext{})
	if !d.Value || d.ErrorCode != of.ProviderNotReadyCode {
		t.Errorf("without definitions = %v, %s; want the default and PROVIDER_NOT_READY", d.Value, d.ErrorCode)
	}
}
