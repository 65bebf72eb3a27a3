package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/sluice-flags/sluice/pkg/eval"
)

const (
	// pollPeriod is how often an SDK asks for rules.
	pollPeriod = 10 * time.Second
	// askers are the connections on which requests follow one another.
	askers = 32
)

// edge measures what SDKs ask of an edge: payloads for clients beside the bare
// evaluation, checks beside a handler that does nothing, and ten thousand servers
// that poll, beside that handler and beside connections without HTTP.
func edge(ctx context.Context, b *bench) ([]table, error) {
	p, err := b.platform.newProject(ctx, "edge")
	if err != nil {
		return nil, err
	}
	if err := p.fill(ctx, b.flags); err != nil {
		return nil, err
	}
	server, err := p.newKey(ctx, "server")
	if err != nil {
		return nil, err
	}
	client, err := p.newKey(ctx, "client")
	if err != nil {
		return nil, err
	}
	empty, err := startFloor(b.dir, floorHTTP)
	if err != nil {
		return nil, err
	}
	defer empty.stop()
	tcp, err := startFloor(b.dir, floorTCP)
	if err != nil {
		return nil, err
	}
	defer tcp.stop()
	e := &edgeBench{bench: b, server: server, client: client, empty: empty, tcp: tcp}
	var tables []table
	for _, measure := range []func(context.Context) (table, error){e.payloads, e.checks, e.polls} {
		t, err := measure(ctx)
		if err != nil {
			return nil, err
		}
		tables = append(tables, t)
	}
	return tables, nil
}

type edgeBench struct {
	*bench
	server, client string // keys
	empty, tcp     *floor
}

// fill makes flags: gates that half of the users pass, gates that ask for the
// end of an e-mail, and configs that are objects.
func (p *project) fill(ctx context.Context, n int) error {
	return together(writers, func(writer int) error {
		for i := writer; i < n; i += writers {
			name := fmt.Sprintf("flag_%05d_checkout", i)
			rules := everyone(50)
			collection := "gates"
			in := object{"name": name, "rules": rules}
			switch i % 4 {
			case 1, 3:
				rules[0]["conditions"] = []object{{"type": "email", "operator": "str_ends_with_any", "targetValue": []string{"@example.com"}}}
			case 2:
				collection = "configs"
				in["defaultValue"] = object{"title": "Hello"}
				rules[0]["value"] = object{"title": "Good morning", "limit": 25, "nested": object{"on": true}}
			}
			if _, err := p.call(ctx, "POST", p.path(collection), "", in, nil); err != nil {
				return err
			}
		}
		return nil
	})
}

const edgeUser = `{"userID":"user-4711","email":"jane@example.com","custom":{"plan":"pro"}}`

// request is a request as a client writes it.
func request(method, path, key, body string, header ...string) []byte {
	text := method + " " + path + " HTTP/1.1\r\nHost: edge\r\nSTATSIG-API-KEY: " + key + "\r\n"
	for _, line := range header {
		text += line + "\r\n"
	}
	if method == http.MethodPost {
		text += fmt.Sprintf("Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	return []byte(text + "\r\n" + body)
}

const ok = "HTTP/1.1 200 "

// payloads compares initialize requests over HTTP, one after another on one
// connection and many at once, with what there is to do: evaluating, and writing
// JSON. Alone, each request wakes a process that sleeps; and on the clock, the
// client's own work and two hand-overs between processes come on top.
func (e *edgeBench) payloads(ctx context.Context) (table, error) {
	bare, err := e.bare(ctx)
	if err != nil {
		return table{}, err
	}
	body := `{"user":` + edgeUser + `,"hash":"djb2","statsigMetadata":{"sdkType":"javascript-client","sdkVersion":"3.33.5"}}`
	lanes := []struct {
		name, encoding string
		askers         int
		surge          *surge
		each, costs    []time.Duration
	}{
		{name: "alone", encoding: "identity", askers: 1},
		{name: "alone, gzip", encoding: "gzip", askers: 1},
		{name: "alone, zstd", encoding: "zstd", askers: 1},
		{name: "among others", encoding: "identity", askers: askers},
		{name: "among others, gzip", encoding: "gzip", askers: askers},
		{name: "among others, zstd", encoding: "zstd", askers: askers},
	}
	for i := range lanes {
		l := &lanes[i]
		ask := request("POST", "/v1/initialize", e.client, body, "Accept-Encoding: "+l.encoding)
		if l.surge, err = openSurge(e.platform.address, l.askers, func(int) []byte { return ask }, ok); err != nil {
			return table{}, err
		}
		defer l.surge.close()
		if err := l.surge.once(); err != nil {
			return table{}, fmt.Errorf("%s: %w", l.name, err)
		}
	}
	var floor []time.Duration
	for range e.rounds {
		floor = append(floor, bare(e.round/2))
		for i := range lanes {
			l := &lanes[i]
			var rate float64
			took, err := spent(e.platform.process.cmd.Process.Pid, func() (err error) {
				rate, err = l.surge.flood(ctx, e.round/2)
				return err
			})
			if err != nil {
				return table{}, fmt.Errorf("%s: %w", l.name, err)
			}
			l.each = append(l.each, time.Duration(float64(time.Second)/rate))
			l.costs = append(l.costs, took/time.Duration(l.surge.answered))
		}
	}
	t := table{
		title:   fmt.Sprintf("initialize: alone, and on %d connections, %d flags, median of %d rounds", askers, e.flags, e.rounds),
		columns: []string{"", "µs of CPU", "× floor", "µs on the clock", "× floor", "answer"},
	}
	base := median(floor)
	row := func(name string, cost, each time.Duration, bytes int) {
		over := func(d time.Duration) string { return times(float64(d) / float64(base)) }
		t.add(name, us(cost), over(cost), us(each), over(each), fmt.Sprintf("%d B", bytes))
	}
	row("floor, evaluation and JSON alone", base, base, lanes[0].surge.bytes)
	for _, l := range lanes {
		row(l.name, median(l.costs), median(l.each), l.surge.bytes)
	}
	return t, nil
}

// bare returns a measurement of the evaluator alone, on the rules that the edge
// has.
func (e *edgeBench) bare(ctx context.Context) (func(time.Duration) time.Duration, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+e.platform.address+"/v1/download_config_specs/"+e.server+".json", nil)
	if err != nil {
		return nil, err
	}
	_, text, err := send(&e.platform.client, req)
	if err != nil {
		return nil, err
	}
	specs, err := eval.ParseSpecs(text)
	if err != nil {
		return nil, err
	}
	rules := eval.Compile(specs, eval.Options{})
	var u eval.User
	if err := json.Unmarshal([]byte(edgeUser), &u); err != nil {
		return nil, err
	}
	var buf []byte
	return func(d time.Duration) time.Duration {
		n := 0
		began := time.Now()
		for time.Since(began) < d {
			buf = rules.AppendClient(buf[:0], &u, eval.ClientOptions{Hash: eval.HashDJB2})
			n++
		}
		return time.Since(began) / time.Duration(n)
	}, nil
}

const (
	checkPath  = "/v1/check_gate"
	answerPath = "/answer" // of the floor: see [answerAlike]
)

// checks compares check_gate with a handler that does nothing, behind the same
// server with the same deadlines, asked by the same clients; and with one that
// reads what it is sent and writes as much as we do, which is what the server
// itself takes of our requests.
func (e *edgeBench) checks(ctx context.Context) (table, error) {
	ask := func(path, key, gate string) func(int) []byte {
		return func(i int) []byte {
			return request("POST", path, key, fmt.Sprintf(`{"gateName":%q,"user":{"userID":"user-%d","email":"jane@example.com","custom":{"plan":"pro"}}}`, gate, i))
		}
	}
	lanes := []struct {
		name, address string
		process       *process
		request       func(int) []byte
		surge         *surge
		rates, costs  []float64
	}{
		{name: "floor, empty handler", address: e.empty.http, process: e.empty.process, request: ask(checkPath, e.server, "flag_00000_checkout")},
		{name: "reads, and sends such an answer", address: e.empty.http, process: e.empty.process, request: ask(answerPath, e.server, "flag_00000_checkout")},
		{name: "check_gate, server key", address: e.platform.address, process: e.platform.process, request: ask(checkPath, e.server, "flag_00000_checkout")},
		{name: "check_gate, client key", address: e.platform.address, process: e.platform.process, request: ask(checkPath, e.client, "flag_00001_checkout")},
	}
	for i := range lanes {
		var err error
		if lanes[i].surge, err = openSurge(lanes[i].address, askers, lanes[i].request, ok); err != nil {
			return table{}, err
		}
		defer lanes[i].surge.close()
		if err := lanes[i].surge.once(); err != nil {
			return table{}, fmt.Errorf("%s: %w", lanes[i].name, err)
		}
	}
	for range e.rounds {
		for i := range lanes {
			l := &lanes[i]
			var rate float64
			took, err := spent(l.process.cmd.Process.Pid, func() (err error) {
				rate, err = l.surge.flood(ctx, e.round)
				return err
			})
			if err != nil {
				return table{}, fmt.Errorf("%s: %w", l.name, err)
			}
			l.rates = append(l.rates, rate)
			l.costs = append(l.costs, took.Seconds()*1e6/float64(l.surge.answered))
		}
	}
	t := table{
		title:   fmt.Sprintf("check_gate: answered in a second on %d connections, median of %d rounds of %v", askers, e.rounds, e.round),
		columns: []string{"", "per second", "of the floor", "µs of CPU each", "× floor"},
	}
	floor, least := median(lanes[0].rates), median(lanes[0].costs)
	for _, l := range lanes {
		r, c := median(l.rates), median(l.costs)
		t.add(l.name, rate(r), times(r/floor), fmt.Sprintf("%.1f", c), times(c/least))
	}
	return t, nil
}

// polls measures the processor time of servers' SDKs that poll for rules and
// find that they have the newest. What connections cost that wake up this seldom,
// whoever answers, is measured beside it.
func (e *edgeBench) polls(ctx context.Context) (table, error) {
	path := "/v1/download_config_specs/" + e.server + ".json"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+e.platform.address+path, nil)
	if err != nil {
		return table{}, err
	}
	req.Header.Set("Accept-Encoding", "gzip")
	header, _, err := send(&e.platform.client, req)
	if err != nil {
		return table{}, err
	}
	lanes := []struct {
		name         string
		process      *process
		address      string
		request      []byte
		want         string
		costs, cores []float64 // of a poll in µs, and of all of them
	}{
		{name: "floor, TCP alone", process: e.tcp.process, address: e.tcp.http, request: request("GET", path, e.server, ""), want: ok},
		{name: "floor, empty handler", process: e.empty.process, address: e.empty.http, request: request("GET", path, e.server, ""), want: ok},
		{name: "by sinceTime", process: e.platform.process, address: e.platform.address,
			request: request("GET", fmt.Sprintf("%s?sinceTime=%d", path, time.Now().UnixMilli()), e.server, "", "Accept-Encoding: gzip"), want: ok},
		{name: "by If-None-Match", process: e.platform.process, address: e.platform.address,
			request: request("GET", path, e.server, "", "Accept-Encoding: gzip", "If-None-Match: "+header.Get("ETag")), want: "HTTP/1.1 304 "},
	}
	rounds, window := min(e.rounds, 3), min(pollPeriod/2, 5*e.round)
	for range rounds {
		for i := range lanes {
			l := &lanes[i]
			s, err := openSurge(l.address, e.sdks, func(int) []byte { return l.request }, l.want)
			if err != nil {
				return table{}, fmt.Errorf("%s: %w", l.name, err)
			}
			answers, took, err := s.measured(ctx, l.process.cmd.Process.Pid, window)
			s.close()
			if err != nil {
				return table{}, fmt.Errorf("%s: %w", l.name, err)
			}
			l.costs = append(l.costs, took.Seconds()*1e6/float64(answers))
			l.cores = append(l.cores, 100*took.Seconds()/window.Seconds())
		}
	}
	t := table{
		title:   fmt.Sprintf("polls: %d SDKs, each every %v, median of %d rounds of %v", e.sdks, pollPeriod, rounds, window),
		columns: []string{"", "µs of CPU each", "% of a core", "× TCP alone", "× empty handler"},
	}
	tcp, floor := median(lanes[0].costs), median(lanes[1].costs)
	for _, l := range lanes {
		c := median(l.costs)
		t.add(l.name, fmt.Sprintf("%.1f", c), fmt.Sprintf("%.2f", median(l.cores)), times(c/tcp), times(c/floor))
	}
	return t, nil
}

// measured returns the answers of a while of polling, and what they cost the
// process that gave them, beside what it costs anyway.
func (s *surge) measured(ctx context.Context, pid int, window time.Duration) (answers int, took time.Duration, err error) {
	if err := s.once(); err != nil {
		return 0, 0, err
	}
	idle, err := spent(pid, func() error { return sleep(ctx, window) })
	if err != nil {
		return 0, 0, err
	}
	busy, err := spent(pid, func() (err error) {
		answers, err = s.trickle(ctx, pollPeriod, window)
		return err
	})
	return answers, max(busy-idle, time.Second/100), err // a tick is the least that can be told
}

// spent returns the processor time that a process takes while f runs.
func spent(pid int, f func() error) (time.Duration, error) {
	before, err := cpu(pid)
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	after, err := cpu(pid)
	return after - before, err
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
