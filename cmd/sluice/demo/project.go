package demo

import (
	"context"
	"errors"
	"net/http"
)

// A document is the body of a definition, as the management API takes it.
type document map[string]any

const projectPath = "/api/v1/projects/" + projectID

// definitions are the demo project's documents, in the order in which they can
// be created.
func definitions() []struct {
	collection string
	body       document
} {
	var arms []document
	for i, g := range groups {
		arms = append(arms, document{"name": g.name, "share": g.share, "control": i == 0, "parameters": document{"layout": g.name}})
	}
	everyone := []document{{"type": "public"}}
	return []struct {
		collection string
		body       document
	}{
		{"gates", document{
			"name": gateName, "displayName": "New checkout", "why": "Fewer abandoned baskets",
			// With salts of its own, the gate fails for the same half in every demo.
			"salt":  "demo-" + gateName,
			"rules": []document{{"name": "Half of everyone", "salt": "half", "passPercentage": 50, "conditions": everyone}},
		}},
		{"configs", document{
			"name": configName, "displayName": "Checkout banner",
			"defaultValue": document{"text": "Free delivery from 30", "colour": "blue"},
			"rules":        []document{},
		}},
		{"metrics", document{
			"name": purchaseMetric, "displayName": "Visitors who buy", "type": "event_user", "event": purchaseEvent, "direction": "increase",
		}},
		{"metrics", document{
			"name": revenueMetric, "displayName": "Revenue per visitor", "type": "sum", "event": purchaseEvent, "valueFrom": "value", "direction": "increase",
		}},
		{"experiments", document{
			"name": experimentName, "displayName": "Pricing page", "hypothesis": "Clearer prices make more visitors buy",
			"salt": "demo-" + experimentName, "allocation": 100, "groups": arms, "metrics": []string{purchaseMetric, revenueMetric},
		}},
	}
}

// ensureProject creates what is not there yet and leaves alone what is.
func (f *Facts) ensureProject(ctx context.Context, api client) error {
	if err := create(ctx, api, "/api/v1/projects", document{"name": projectID, "displayName": "Demo"}); err != nil {
		return err
	}
	for _, key := range []struct {
		kind string
		text *string
	}{
		{"console", &f.Keys.Console}, {"server", &f.Keys.Server}, {"client", &f.Keys.Client},
	} {
		if *key.text != "" {
			continue
		}
		body := document{"name": "demo " + key.kind, "kind": key.kind}
		if key.kind != "console" {
			body["environments"] = []string{"production"}
		}
		var made struct {
			Text string `json:"key"`
		}
		if _, err := api.call(ctx, http.MethodPost, projectPath+"/keys", "", body, &made); err != nil {
			return err
		}
		*key.text = made.Text
	}
	for _, d := range definitions() {
		if err := create(ctx, api, projectPath+"/"+d.collection, d.body); err != nil {
			return err
		}
	}
	return f.start(ctx, api)
}

// start starts the experiment unless somebody has done so, or ended it.
func (f *Facts) start(ctx context.Context, api client) error {
	path := projectPath + "/experiments/" + experimentName
	var now struct {
		Status string `json:"status"`
	}
	got, err := api.call(ctx, http.MethodGet, path, "", nil, &now)
	if err != nil || now.Status != "draft" {
		return err
	}
	_, err = api.call(ctx, http.MethodPost, path+"/start", got.etag, document{"reason": "the demo begins"}, nil)
	return err
}

// create posts a document; that it exists already is fine.
func create(ctx context.Context, api client, path string, body document) error {
	_, err := api.call(ctx, http.MethodPost, path, "", body, nil)
	var r *refusal
	if errors.As(err, &r) && r.code == "name_taken" {
		return nil
	}
	return err
}
