package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/sluice-flags/sluice/internal/warehouse"
)

// addresses are where the parts of a running platform answer. They are kept in
// <data>/run.json, anew at each start, readable by the owner alone because the
// engine's passwords are among them.
type addresses struct {
	HTTP       string            `json:"http"`           // base of every endpoint
	Live       string            `json:"live"`           // the live WebSocket
	GRPC       string            `json:"grpc,omitempty"` // where SDKs stream rules from
	Ops        string            `json:"ops,omitempty"`  // metrics, health, profiles
	NATS       string            `json:"nats,omitempty"` // where other processes may join
	ClickHouse clickHouseAddress `json:"clickhouse"`
}

type clickHouseAddress struct {
	Addr     string `json:"addr"`           // native protocol, host:port
	HTTP     string `json:"http,omitempty"` // HTTP interface, host:port
	User     string `json:"user"`
	Password string `json:"password"`
	Database string `json:"database"`
	Analyst  *login `json:"analyst,omitempty"` // who may only read
}

type login struct {
	User     string `json:"user"`
	Password string `json:"password"`
}

func (p *platform) addresses() addresses {
	native, analyst, http := p.engine.address()
	at := addresses{
		HTTP: "http://" + p.front.Address(),
		Live: "ws://" + p.front.Address() + "/v1/live",
		ClickHouse: clickHouseAddress{
			Addr: native.Addr, HTTP: http, User: native.User, Password: native.Password,
			Database: cmp.Or(native.Database, warehouse.DefaultDatabase),
		},
	}
	if analyst.User != "" {
		at.ClickHouse.Analyst = &login{User: analyst.User, Password: analyst.Password}
	}
	if p.streams != nil {
		at.GRPC = p.streams.Addr().String()
	}
	if p.ops.Addr != "" {
		at.Ops = "http://" + p.ops.Address()
	}
	if p.settings.NATSListen != "" {
		at.NATS = p.nats.URL()
	}
	return at
}

const addressesFile = "run.json"

func (a addresses) save(data string) error {
	raw, err := json.MarshalIndent(a, "", "  ")
	if err != nil {
		return err
	}
	path := filepath.Join(data, addressesFile)
	if err := os.WriteFile(path+".new", append(raw, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// print tells a person where things are.
func (a addresses) print(w io.Writer, data string) {
	var b strings.Builder
	line := func(what, where string) { fmt.Fprintf(&b, "  %-12s %s\n", what, where) }
	b.WriteString("\nSluice is running.\n\n")
	line("SDKs", a.HTTP)
	line("live", a.Live)
	if a.GRPC != "" {
		line("gRPC", a.GRPC)
	}
	line("API", a.HTTP+"/api/v1   (admin key in "+filepath.Join(data, adminFile)+")")
	if a.Ops != "" {
		line("metrics", a.Ops+"/metrics")
	}
	line("ClickHouse", a.ClickHouse.Addr+"   (users and passwords in "+filepath.Join(data, addressesFile)+"; analyst may only read)")
	_, _ = io.WriteString(w, b.String()) // a closed terminal is no reason to stop
}
