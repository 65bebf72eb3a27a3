// Package demo fills a running platform with a project worth looking at, and
// sends it traffic whose true effects are known.
//
// Everything goes through the public endpoints, as any client's would: the
// project is made with the management API, each simulated visitor asks
// /v1/initialize and reports to /v1/rgstr. What the experiment then shows can be
// held against [Effects], which is what the visitors really do.
package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Facts says where a running demo is and what it holds. It is kept in
// <data>/demo.json, readable by its owner alone because it holds keys.
type Facts struct {
	Addresses  Addresses  `json:"addresses"`
	Project    string     `json:"project"`
	Keys       Keys       `json:"keys"`
	Gate       string     `json:"gate"`
	Config     string     `json:"config"`
	Experiment string     `json:"experiment"`
	Metrics    []string   `json:"metrics"`
	Effects    []Effect   `json:"trueEffects"`
	Traffic    TrafficLog `json:"traffic"`
}

// Addresses are the URLs under which the platform answers.
type Addresses struct {
	HTTP       string `json:"http"`       // base of every endpoint
	Live       string `json:"live"`       // the live WebSocket
	Page       string `json:"page"`       // the page that shows pushes
	Results    string `json:"results"`    // results of the experiment, as JSON
	ClickHouse string `json:"clickhouse"` // native protocol, host:port
}

// Keys are the credentials of the demo project, by kind.
type Keys struct {
	Admin   string `json:"admin"`   // may do everything in every project
	Console string `json:"console"` // may edit this project
	Server  string `json:"server"`  // for server SDKs
	Client  string `json:"client"`  // for browsers and phones
}

// TrafficLog remembers how far the visitors have come, so that a restart goes
// on with new ones.
type TrafficLog struct {
	Seed     uint64 `json:"seed"`
	Visitors int    `json:"visitors"`
}

const factsFile = "demo.json"

// Load reads the facts of an earlier start from folder data. Without one, the
// error is fs.ErrNotExist.
func Load(data string) (Facts, error) {
	raw, err := os.ReadFile(filepath.Join(data, factsFile))
	if err != nil {
		return Facts{}, err
	}
	var f Facts
	if err := json.Unmarshal(raw, &f); err != nil {
		return Facts{}, fmt.Errorf("%s is damaged (%w): move it away to make a new demo project", filepath.Join(data, factsFile), err)
	}
	return f, nil
}

// Save writes the facts to folder data, whole or not at all.
func (f Facts) Save(data string) error {
	raw, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	temp := filepath.Join(data, factsFile+".new")
	if err := os.WriteFile(temp, append(raw, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(temp, filepath.Join(data, factsFile))
}

// Prepare makes sure that the demo project stands, and returns its facts. A
// second start finds everything as it was: definitions that people have changed
// since are left alone, and keys stay the same.
func Prepare(ctx context.Context, data, admin string, at Addresses, seed uint64) (Facts, error) {
	f, err := Load(data)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f = Facts{Traffic: TrafficLog{Seed: seed}}
	case err != nil:
		return Facts{}, err
	}
	f.Project, f.Gate, f.Config, f.Experiment = projectID, gateName, configName, experimentName
	f.Metrics = []string{purchaseMetric, revenueMetric}
	f.Effects = Effects()
	at.Page = at.HTTP + "/demo"
	at.Results = at.HTTP + "/api/v1/projects/" + projectID + "/experiments/" + experimentName + "/results"
	f.Addresses = at
	f.Keys.Admin = admin

	api := client{base: at.HTTP, key: admin}
	if err := f.ensureProject(ctx, api); err != nil {
		return Facts{}, fmt.Errorf("preparing the demo project: %w", err)
	}
	return f, f.Save(data)
}
