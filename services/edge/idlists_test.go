package edge_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/edge/internal/edgetest"
)

// vips makes a segment that is an id list, and the gate beta for its members.
func vips(t *testing.T, p *edgetest.Project) {
	t.Helper()
	p.Put(t, &flags.Segment{Name: "vips", Type: flags.SegmentIDList, UnitType: "userID"})
	p.Put(t, p.Gate("beta", flags.Rule{ID: "vips", PassPercentage: 100,
		Conditions: []flags.Condition{{Type: "passes_segment", TargetValue: json.RawMessage(`"vips"`)}}}))
}

// members changes the list vips: "+u1" puts u1 in, "-u1" takes it out.
func members(t *testing.T, p *edgetest.Project, changes ...string) {
	t.Helper()
	c := new(flags.IDChanges)
	for _, change := range changes {
		if change[0] == '+' {
			c.Add(change[1:])
		} else {
			c.Remove(change[1:])
		}
	}
	edit(t, p, func(l *flags.IDList) (flags.IDEdit, flags.Problems) { return l.Edit(c, time.Now().UnixMilli()) })
}

func edit(t *testing.T, p *edgetest.Project, f func(*flags.IDList) (flags.IDEdit, flags.Problems)) {
	t.Helper()
	segment, _ := p.State().ByName(flags.KindSegment, "vips")
	list, ok := p.State().IDList(segment.Ref)
	if !ok {
		t.Fatal("there is no list vips")
	}
	change, problems := f(list)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	var docs []flags.Document
	for _, b := range change.Batches {
		docs = append(docs, b)
	}
	p.Put(t, docs...)
}

// An entry is what SDKs are told of a list.
type entry struct {
	Name, URL, FileID  string
	Size, CreationTime int64
}

func manifest(t *testing.T, e *running, key string) map[string]entry {
	t.Helper()
	a := e.ask(t, "POST", "/v1/get_id_lists", key, "{}")
	var out map[string]entry
	if err := json.Unmarshal([]byte(a.body), &out); err != nil || a.status != 200 {
		t.Fatalf("get_id_lists = %d %s, %v", a.status, a.body, err)
	}
	return out
}

// only is the one list of a manifest, once it has a size.
func only(t *testing.T, e *running, key string, size int64) entry {
	t.Helper()
	var found entry
	until(t, fmt.Sprintf("a list of %d bytes", size), func() answer {
		for _, one := range manifest(t, e, key) {
			found = one
		}
		return answer{status: int(found.Size)}
	}, func(a answer) bool { return int64(a.status) == size })
	return found
}

// path is what a URL of an edge names there.
func path(t *testing.T, e *running, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil || u.Scheme+"://"+u.Host != e.server.URL {
		t.Fatalf("the URL is %q, want one of %s", address, e.server.URL)
	}
	return u.Path
}

func lines(changes ...string) string {
	var b strings.Builder
	for _, change := range changes {
		b.WriteString(change[:1] + eval.HashID(change[1:]) + "\n")
	}
	return b.String()
}

func TestAListIsServedAsAFileThatGrows(t *testing.T) {
	n := startNATS(t)
	_, p := n.project(t)
	vips(t, p)
	key := p.Key(t, flags.KeyServer)
	e := startEdge(t, n, "")

	segment, _ := p.State().ByName(flags.KindSegment, "vips")
	empty := only(t, e, key, 0)
	if empty.Name != segment.Ref.ID || empty.CreationTime <= 0 || empty.FileID == "" {
		t.Errorf("an empty list is %+v, want one named %s with a file and a time", empty, segment.Ref.ID)
	}
	if a := e.ask(t, "GET", path(t, e, empty.URL), "", "", "Range", "bytes=0-"); a.status != 200 || a.body != "" {
		t.Errorf("the empty file = %d %q, want 200 and nothing", a.status, a.body)
	}

	members(t, p, "+a", "+b")
	first := only(t, e, key, 20)
	members(t, p, "-a", "+c")
	second := only(t, e, key, 40)
	if first.FileID != empty.FileID || second.FileID != first.FileID || second.URL != first.URL || second.CreationTime != first.CreationTime {
		t.Errorf("the file was %+v and is %+v, want the same with more bytes", first, second)
	}
	whole := lines("+a", "+b", "-a", "+c")
	for _, tt := range []struct {
		span   string
		status int
		body   string
	}{
		{"", 200, whole},
		{"bytes=0-", 206, whole},
		{"bytes=20-", 206, whole[20:]},
		{"bytes=30-39", 206, whole[30:]},
		{"bytes=-10", 206, whole[30:]},
		{"bytes=10-19", 206, whole[10:20]},
	} {
		var header []string
		if tt.span != "" {
			header = []string{"Range", tt.span, "Accept-Encoding", "gzip, br"}
		}
		a := e.ask(t, "GET", path(t, e, second.URL), "", "", header...)
		if a.status != tt.status || a.body != tt.body || a.header.Get("Content-Length") != strconv.Itoa(len(tt.body)) || a.header.Get("Content-Encoding") != "" {
			t.Errorf("Range %q = %d %q, length %q, encoding %q; want %d %q plain", tt.span, a.status, a.body,
				a.header.Get("Content-Length"), a.header.Get("Content-Encoding"), tt.status, tt.body)
		}
	}
	for _, span := range []string{"bytes=40-", "bytes=1000-", "bytes=0-9,20-29", "bytes=0-,0-,0-", "bytes=9-1", "bytes=-0", "bytes=x-", "bytes=-", "bytes=", "bytes=+5-", "bytes=99999999999999999999-"} {
		a := e.ask(t, "GET", path(t, e, second.URL), "", "", "Range", span)
		if a.status != 416 || a.header.Get("Content-Range") != "bytes */40" || a.header.Get("Content-Type") != "application/problem+json" ||
			!strings.Contains(a.body, `"code":"range_not_satisfiable"`) {
			t.Errorf("Range %s = %d %q %s, want 416, the size and a problem", span, a.status, a.header.Get("Content-Range"), a.body)
		}
	}
	for _, span := range []string{"lines=0-1", "0-1"} {
		if a := e.ask(t, "GET", path(t, e, second.URL), "", "", "Range", span); a.status != 200 || a.body != whole {
			t.Errorf("Range %s = %d %q, want the whole", span, a.status, a.body)
		}
	}
	for id, want := range map[string]string{"a": `"value":false`, "b": `"value":true`, "c": `"value":true`} {
		if a := e.ask(t, "POST", "/v1/check_gate", key, `{"gateName":"beta","user":{"userID":"`+id+`"}}`); !strings.Contains(a.body, want) {
			t.Errorf("check_gate of %s = %s, want %s", id, a.body, want)
		}
	}

	edit(t, p, func(l *flags.IDList) (flags.IDEdit, flags.Problems) {
		c := new(flags.IDChanges)
		c.Add("z")
		return l.Replace(c, time.Now().UnixMilli())
	})
	third := only(t, e, key, 10)
	if third.FileID == second.FileID || third.CreationTime <= second.CreationTime {
		t.Errorf("the rewritten file is %+v, want another than %+v, and younger", third, second)
	}
	if a := e.ask(t, "GET", path(t, e, second.URL), "", ""); a.status != 404 {
		t.Errorf("the old file = %d, want 404", a.status)
	}
}

func TestMembersAreNoNewsToWhoDownloadsSpecs(t *testing.T) {
	n := startNATS(t)
	_, p := n.project(t)
	vips(t, p)
	key := p.Key(t, flags.KeyServer)
	e := startEdge(t, n, "")
	before := e.ask(t, "GET", "/v1/download_config_specs", key, "")
	var specs struct {
		Time    int64           `json:"time"`
		IDLists map[string]bool `json:"id_lists"`
	}
	decode(t, before, &specs)
	list := only(t, e, key, 0)
	if !specs.IDLists[list.Name] {
		t.Errorf("id_lists of the specs = %v, want %s", specs.IDLists, list.Name)
	}
	members(t, p, "+a")
	only(t, e, key, 10)
	since := fmt.Sprint("/v1/download_config_specs?sinceTime=", specs.Time)
	if a := e.ask(t, "GET", since, key, ""); a.body != `{"has_updates":false}` {
		t.Errorf("after a change of members: %.200s, want no updates", a.body)
	}
	if a := e.ask(t, "GET", "/v1/download_config_specs", key, "", "If-None-Match", before.header.Get("ETag")); a.status != 304 {
		t.Errorf("the specs by their ETag = %d, want 304", a.status)
	}
}

func TestEveryEdgeServesTheSameFileBeforeAndAfterARestart(t *testing.T) {
	n := startNATS(t)
	_, p := n.project(t)
	vips(t, p)
	key := p.Key(t, flags.KeyServer)
	dir := t.TempDir()
	one, two := startEdge(t, n, dir), startEdge(t, n, "")
	only(t, one, key, 0) // one follows from here on, two reads it all at once later
	var changes []string
	for i := range 6000 {
		changes = append(changes, fmt.Sprint("+u", i))
	}
	members(t, p, changes...)
	for i := range 30 {
		members(t, p, fmt.Sprint("-u", i), fmt.Sprint("+again", i))
	}
	const size = (6000 + 60) * 10
	first := only(t, one, key, size)
	body := one.ask(t, "GET", path(t, one, first.URL), "", "").body
	same := func(what string, e *running) {
		t.Helper()
		other := only(t, e, key, size)
		if other.FileID != first.FileID || other.CreationTime != first.CreationTime {
			t.Errorf("%s has %+v, want the file of %+v", what, other, first)
		}
		if got := e.ask(t, "GET", path(t, e, other.URL), "", "").body; got != body {
			t.Errorf("%s serves %d other bytes than the first edge's %d", what, len(got), len(body))
		}
	}
	same("another edge", two)
	one.stop()
	same("the edge after a restart", startEdge(t, n, dir))
	two.stop()
	n.stop(t)
	same("the edge from its disk alone", startEdge(t, n, dir))
}

func TestFilesAreForThoseWhoWereToldOfThem(t *testing.T) {
	n := startNATS(t)
	_, p := n.project(t)
	vips(t, p)
	members(t, p, "+a")
	key, other := p.Key(t, flags.KeyServer), p.Key(t, flags.KeyServer)
	client := p.Key(t, flags.KeyClient)
	e := startEdge(t, n, "")
	for name, wrong := range map[string]struct {
		key    string
		status int
	}{"a client key": {client, 403}, "no key": {"", 401}, "an unknown key": {"secret-shop-" + strings.Repeat("a", 52), 401}} {
		if a := e.ask(t, "POST", "/v1/get_id_lists", wrong.key, "{}"); a.status != wrong.status {
			t.Errorf("get_id_lists with %s = %d, want %d", name, a.status, wrong.status)
		}
	}
	mine, theirs := only(t, e, key, 10), only(t, e, other, 10)
	good := path(t, e, mine.URL)
	at := strings.LastIndex(good, ".")
	for name, bad := range map[string]string{
		"another key's proof":  good[:at] + path(t, e, theirs.URL)[strings.LastIndex(theirs.URL, ".")-len(e.server.URL):],
		"no proof":             good[:at],
		"a proof cut short":    good[:len(good)-1],
		"another project":      strings.Replace(good, "/shop.", "/shop2.", 1),
		"a key of another id":  strings.Replace(good, ".key_", ".key_x", 1),
		"the bare segment":     "/v1/download_id_list_file/" + mine.Name,
		"something else":       "/v1/download_id_list_file/....",
		"somebody's invention": "/v1/download_id_list_file/..%2F..%2Fetc",
	} {
		if a := e.ask(t, "GET", bad, "", ""); a.status != 404 {
			t.Errorf("the file by %s (%s) = %d, want 404", name, bad, a.status)
		}
	}
	revoked := p.KeyOf(t, key)
	revoked.Revoked = true
	p.Put(t, revoked)
	until(t, "the file of a revoked key to be gone", func() answer { return e.ask(t, "GET", good, "", "") }, func(a answer) bool { return a.status == 404 })
	if a := e.ask(t, "GET", path(t, e, theirs.URL), "", ""); a.status != 200 {
		t.Errorf("the other key's file = %d, want 200", a.status)
	}
}
