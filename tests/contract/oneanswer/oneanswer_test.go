// Package oneanswer holds the promise of the platform to random projects and
// users: whoever asks, by whatever protocol, gets the same answer.
package oneanswer

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/internal/flagstest"
	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/flags"
	sluice "github.com/sluice-flags/sluice/sdk/go"
	"github.com/sluice-flags/sluice/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// usualSeed makes every run of the suite ask the same. Hunting is for -seed=0.
const usualSeed = 1

var seedFlag = flag.Uint64("seed", usualSeed, "of the random projects; 0 draws one, which is printed")

// How much is asked of one seed.
const (
	projects  = 6
	usersEach = 40
	watchers  = 6 // users of each project with a live connection
	tooMany   = 5 // differences of one project
)

// scopes are what the keys of a project may see; projects take turns.
var scopes = []harness.Doc{
	{"environments": []string{"production"}},
	{"environments": []string{"production", "staging"}},
	{"environments": []string{"production"}, "targetApps": []string{"web"}},
}

// A project is authored through the management interface. Then every way of
// asking is asked for every entity and user: what the edge decides, what it sends
// to be kept, and what SDKs make of its rules in their own process. Then the
// project is edited, clients that stayed connected hear of it, and all are asked
// again.
func TestEveryWayOfAskingGivesTheSameAnswer(t *testing.T) {
	seed := *seedFlag
	for seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d: go test -run %s -args -seed=%d", seed, t.Name(), seed)
	quietGoSDK()
	for number := range projects {
		t.Run(fmt.Sprintf("project %d", number), func(t *testing.T) {
			h := newHearing(t, seed, number)
			watching := h.watch()
			h.everyone("as it was made")
			h.edit()
			for _, w := range watching {
				w.follow()
			}
			h.everyone("after an edit")
			h.watched(watching)
			if !t.Failed() {
				t.Logf("%d answers of %d ways of asking were compared", h.compared.Load(), len(h.heard))
			}
		})
	}
}

// A hearing asks about one project.
type hearing struct {
	t       *testing.T
	what    string // names the draw
	drawn   *flagstest.Project
	project *harness.Project
	several bool   // the keys are for several environments
	app     string // the one app that the keys are for

	server, client string // keys of the same scope
	users          []eval.User
	entities       []entity
	seq            uint64

	rules *eval.Ruleset // the reference: rules as a server key downloads them
	local []voice       // SDKs that decide in this process

	following *sluice.Client // our SDK, connected since before the edit

	compared, differences atomic.Int64
	mu                    sync.Mutex
	heard                 map[string]bool // voices
}

// made counts projects, whose names are used once.
var made atomic.Int64

func newHearing(t *testing.T, seed uint64, number int) *hearing {
	h := &hearing{
		t: t, what: fmt.Sprintf("seed %d, project %d", seed, number), drawn: flagstest.New(seed, number), heard: map[string]bool{},
		project: harness.Shared(t).NewProject(fmt.Sprint("one_", made.Add(1))),
	}
	scope := maps.Clone(scopes[number%len(scopes)])
	h.several = len(scope["environments"].([]string)) > 1
	if apps, ok := scope["targetApps"].([]string); ok {
		h.app = apps[0]
	}
	for kind, key := range map[string]*string{"server": &h.server, "client": &h.client} {
		scope["name"], scope["kind"] = kind+" of the hearing", kind
		var made struct{ Key string }
		h.project.Must(http.StatusCreated, &made, h.project.AdminKey(), "POST", h.project.Path("keys"), scope)
		*key = made.Key
	}
	for i := range usersEach {
		u := h.drawn.User(i)
		if !h.several {
			u.StatsigEnvironment = nil // a context of OpenFeature cannot name another than the key's
		}
		h.users = append(h.users, u)
	}
	for _, d := range h.drawn.Documents {
		h.create(d)
		if e, ok := entityOf(d); ok {
			h.entities = append(h.entities, e)
		}
	}
	for _, kind := range []flags.Kind{flags.KindGate, flags.KindConfig, flags.KindExperiment, flags.KindLayer} {
		h.entities = append(h.entities, entity{kind, "unknown " + string(kind)})
	}
	h.entities = append(h.entities, entity{flags.KindGate, beacon})
	h.create(&flags.Gate{Name: beacon, TargetApps: []string{"web"}, Status: flags.StatusDisabled})
	h.settle()
	return h
}

// beacon is the gate whose change is the last of an edit, so that clients which
// heard of it have heard of all.
const beacon = "beacon"

var collections = map[flags.Kind]string{
	flags.KindGate: "gates", flags.KindConfig: "configs", flags.KindExperiment: "experiments", flags.KindLayer: "layers",
	flags.KindSegment: "segments", flags.KindHoldout: "holdouts",
}

func (h *hearing) path(d flags.Document) string {
	return h.project.Path(collections[d.Ref().Kind], url.PathEscape(d.DocName()))
}

func (h *hearing) create(d flags.Document) {
	h.t.Helper()
	got := h.project.Must(http.StatusCreated, nil, h.project.Console, "POST", h.project.Path(collections[d.Ref().Kind]), d)
	h.wrote(got)
	if members := h.drawn.Members[d.DocName()]; members != nil && d.Ref().Kind == flags.KindSegment {
		h.wrote(h.project.SetIDs(url.PathEscape(d.DocName()), harness.Doc{"add": members}))
	}
}

// edit changes the project by a random change, and then the beacon.
func (h *hearing) edit() {
	h.t.Helper()
	c := h.drawn.Change()
	for _, d := range c.Deleted {
		h.onto(d, "DELETE", h.path(d)+"?confirm="+url.QueryEscape(d.DocName()), nil)
	}
	for _, d := range c.Documents {
		h.onto(d, "PUT", h.path(d), d)
		if d.Ref().Kind == flags.KindSegment && (c.Added[d.DocName()] != nil || c.Removed[d.DocName()] != nil) {
			h.wrote(h.project.SetIDs(url.PathEscape(d.DocName()), harness.Doc{"add": c.Added[d.DocName()], "remove": c.Removed[d.DocName()]}))
		}
	}
	lit := &flags.Gate{Name: beacon, TargetApps: []string{"web"}, Status: flags.StatusLaunched}
	h.onto(lit, "PUT", h.path(lit), lit)
	h.settle()
}

// onto writes onto the version that there is.
func (h *hearing) onto(d flags.Document, method, path string, in any) {
	h.t.Helper()
	before := h.project.Must(http.StatusOK, nil, h.project.Console, "GET", h.path(d), nil)
	got, err := h.project.Do(h.project.Console, method, path, in, "If-Match", before.Header.Get("ETag"))
	if err != nil || got.Status/100 != 2 {
		h.t.Fatalf("%s: %s %s of %s answered %d %s, %v", h.what, method, path, encoded(in), got.Status, got.Body, err)
	}
	h.wrote(got)
}

// wrote notes the sequence of a write.
func (h *hearing) wrote(got harness.Answer) {
	h.t.Helper()
	if tag := strings.Trim(got.Header.Get("ETag"), `"`); tag != "" {
		seq, err := strconv.ParseUint(tag, 10, 64)
		if err != nil {
			h.t.Fatalf("the tag %q of a write is no sequence", tag)
		}
		h.seq = max(h.seq, seq)
	}
}

// settle waits until the edge has everything, and reads the rules again.
func (h *hearing) settle() {
	h.t.Helper()
	harness.Within(h.t, time.Minute, func() error {
		got, err := h.project.Do(h.client, "POST", "/v1/initialize", harness.Doc{})
		if err != nil {
			return err
		}
		if seq, _ := strconv.ParseUint(got.Header.Get("Sluice-Sequence"), 10, 64); seq < h.seq {
			return fmt.Errorf("the edge is at %d; want %d", seq, h.seq)
		}
		return nil
	})
	h.rules = h.download()
	h.local = h.inProcess()
}

// everyone asks all voices about all users.
func (h *hearing) everyone(when string) {
	h.t.Helper()
	numbers := make(chan int)
	var asking sync.WaitGroup
	for range 2 { // as many as connections are kept open
		asking.Go(func() {
			for i := range numbers {
				for _, v := range h.remote(i) {
					h.hear(when, v, h.users[i], i)
				}
				for _, v := range h.local {
					h.hear(when, v, h.users[i], i)
				}
			}
		})
	}
	for i := range h.users {
		if h.differences.Load() >= tooMany {
			break
		}
		numbers <- i
	}
	close(numbers)
	asking.Wait()
}

// hear compares what one voice says for one user with the reference.
func (h *hearing) hear(when string, v voice, u eval.User, number int) {
	answers, err := v.ask(u, number)
	if err != nil {
		h.fail("%s, %s: %s for user %s: %v", h.what, when, v.name, encoded(u), err)
		return
	}
	h.judge(when, v, u, answers)
}

func (h *hearing) judge(when string, v voice, u eval.User, answers map[entity]answer) {
	h.mu.Lock()
	h.heard[v.name] = true
	h.mu.Unlock()
	for _, e := range h.entities {
		got, answered := answers[e]
		want, known := h.reference(e, v, u)
		if !answered && known && !v.partial {
			h.fail("%s, %s: %s does not know the %s %q; want %s\nuser: %s\n%s", h.what, when, v.name, e.kind, e.name, encoded(want), encoded(u), h.document(e))
			continue
		}
		if !answered {
			continue
		}
		h.compared.Add(1)
		if v.listing && !known {
			h.fail("%s, %s: %s knows the %s %q, which it must not\nuser: %s\n%s", h.what, when, v.name, e.kind, e.name, encoded(u), h.document(e))
			continue
		}
		if diff := cmp.Diff(want.saidBy(got), got); diff != "" {
			h.fail("%s, %s: %s about the %s %q (-want +got):\n%s\nuser: %s\n%s", h.what, when, v.name, e.kind, e.name, diff, encoded(u), h.document(e))
		}
	}
	if extra := slices.DeleteFunc(slices.Collect(maps.Keys(answers)), func(e entity) bool { return slices.Contains(h.entities, e) }); len(extra) > 0 {
		h.fail("%s, %s: %s knows %v, which nobody made", h.what, when, v.name, extra)
	}
}

func (h *hearing) fail(format string, args ...any) {
	if h.differences.Add(1) <= tooMany {
		h.t.Errorf(format, args...)
	}
}

// document is the definition of an entity, for who reads a failure.
func (h *hearing) document(e entity) string {
	got, err := h.project.Do(h.project.Console, "GET", h.project.Path(collections[e.kind], url.PathEscape(e.name)), nil)
	if err != nil {
		return err.Error()
	}
	return string(got.Body)
}

func encoded(v any) []byte {
	raw, err := json.Marshal(v)
	if err != nil {
		panic(err) // the test's own values
	}
	return raw
}
