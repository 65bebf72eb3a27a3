package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/sluice-flags/sluice/internal/freeport"
	"github.com/sluice-flags/sluice/internal/warehouse"
)

// A platform is a `sluice run` of its own, on an empty folder.
type platform struct {
	*process
	address string // host:port of every endpoint
	data    string
	admin   string // the key that may do everything
	client  http.Client
}

// startLimit bounds the wait for the platform to answer.
const startLimit = 90 * time.Second

// startPlatform builds the binary, starts it and waits until it is ready.
func startPlatform(ctx context.Context, dir, ops string) (*platform, error) {
	binary := filepath.Join(dir, "sluice")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/sluice-flags/sluice/cmd/sluice")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building sluice: %w\n%s", err, out)
	}
	address, err := freeport.Loopback()
	if err != nil {
		return nil, err
	}
	p := &platform{address: address, data: filepath.Join(dir, "data")}
	p.client.Transport = &http.Transport{MaxIdleConnsPerHost: 64}

	said := new(output)
	cmd := exec.Command(binary, "run", "--data", p.data, "--listen", address, "--ops="+ops) //nolint:gosec // our own binary
	cmd.Stdout, cmd.Stderr = said, said
	if p.process, err = startProcess(cmd); err != nil {
		return nil, err
	}
	if err := p.ready(ctx); err != nil {
		p.stop()
		return nil, fmt.Errorf("the platform did not start: %w\n%s", err, said)
	}
	return p, nil
}

// ready waits for the platform to say where its parts are, which it does last.
func (p *platform) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	for {
		if _, err := os.Stat(filepath.Join(p.data, "run.json")); err == nil {
			key, err := os.ReadFile(filepath.Join(p.data, "admin.key"))
			p.admin = strings.TrimSpace(string(key))
			return err
		}
		select {
		case <-p.done:
			return errors.New("it ended")
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// clickHouse is where the platform's engine answers.
func (p *platform) clickHouse() (warehouse.Config, error) {
	raw, err := os.ReadFile(filepath.Join(p.data, "run.json"))
	if err != nil {
		return warehouse.Config{}, err
	}
	var at struct {
		ClickHouse struct{ Addr, User, Password, Database string }
	}
	err = json.Unmarshal(raw, &at)
	c := at.ClickHouse
	return warehouse.Config{Addr: c.Addr, User: c.User, Password: c.Password, Database: c.Database}, err
}

// call makes one request to the management API, and reads the answer into out
// unless that is nil. It returns the answer's ETag.
func (p *platform) call(ctx context.Context, method, path, etag string, in, out any) (string, error) {
	body, err := json.Marshal(in)
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+p.address+path, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+p.admin)
	if etag != "" {
		req.Header.Set("If-Match", etag)
	}
	header, answer, err := send(&p.client, req)
	if err != nil {
		return "", err
	}
	if out != nil {
		err = json.Unmarshal(answer, out)
	}
	return header.Get("ETag"), err
}

// send makes a request whose answer has to be a success.
func send(c *http.Client, req *http.Request) (http.Header, []byte, error) {
	res, err := c.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode/100 != 2 {
		err = fmt.Errorf("%s %s answered %s: %s", req.Method, req.URL.Path, res.Status, body)
	}
	return res.Header, body, err
}

// A project is one of the platform's, with some gates.
type project struct {
	*platform
	id string
}

// newProject makes a project.
func (p *platform) newProject(ctx context.Context, id string) (*project, error) {
	_, err := p.call(ctx, "POST", "/api/v1/projects", "", object{"name": id}, nil)
	return &project{p, id}, err
}

type object map[string]any

func (p *project) path(collection string) string {
	return "/api/v1/projects/" + p.id + "/" + collection
}

// newKey makes an SDK key of a kind and returns its text.
func (p *project) newKey(ctx context.Context, kind string) (string, error) {
	var made struct{ Key string }
	_, err := p.call(ctx, "POST", p.path("keys"), "", object{"name": kind, "kind": kind, "environments": []string{"production"}}, &made)
	return made.Key, err
}

// A gate is a gate that is flipped by one writer.
type gate struct {
	project *project
	path    string
	etag    string // of its last version
	on      bool
}

// newGate makes a gate that passes nobody.
func (p *project) newGate(ctx context.Context, name string) (*gate, error) {
	g := &gate{project: p, path: p.path("gates") + "/" + name}
	var err error
	g.etag, err = p.call(ctx, "POST", p.path("gates"), "", object{"name": name, "rules": everyone(0)}, nil)
	return g, err
}

// flip turns the gate over for everyone: one request, answered when the change
// is on the disk and readable.
func (g *gate) flip(ctx context.Context) error {
	percentage := 100
	if g.on {
		percentage = 0
	}
	etag, err := g.project.call(ctx, "PATCH", g.path, g.etag, object{"rules": everyone(percentage)}, nil)
	if err == nil {
		g.etag, g.on = etag, !g.on
	}
	return err
}

func everyone(percentage int) []object {
	return []object{{"id": "everyone", "name": "Everyone", "passPercentage": percentage, "conditions": []object{{"type": "public"}}}}
}
