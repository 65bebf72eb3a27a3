package oneanswer

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/sluice-flags/sluice/internal/lookup"
	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// An entity is something to ask about.
type entity struct {
	kind flags.Kind
	name string
}

// entityOf returns what code may ask about, holdouts among it: to servers they
// are gates.
func entityOf(d flags.Document) (entity, bool) {
	kind := d.Ref().Kind
	return entity{kind, d.DocName()}, kind != flags.KindSegment
}

func (e entity) ref() eval.Ref {
	switch e.kind {
	case flags.KindGate, flags.KindHoldout:
		return eval.Ref{Section: eval.Gates, Name: e.name}
	case flags.KindLayer:
		return eval.Ref{Section: eval.Layers, Name: e.name}
	}
	return eval.Ref{Section: eval.Configs, Name: e.name}
}

// An answer is what all protocols say of an entity, as far as one says it: what
// it leaves out is nil.
type answer struct {
	Value      any
	Rule       *string
	Group      *string
	Experiment *string // layers: the experiment that decided
}

// saidBy leaves out what another answer leaves out.
func (a answer) saidBy(other answer) answer {
	if other.Value == nil {
		a.Value = nil
	}
	if other.Rule == nil {
		a.Rule = nil
	}
	if other.Group == nil {
		a.Group = nil
	}
	if other.Experiment == nil {
		a.Experiment = nil
	}
	return a
}

// A voice is one way of asking for everything, with one key.
type voice struct {
	name    string
	client  bool // the key is a client's
	payload bool // what it says is for clients, whoever asks
	listing bool // it names what there is, holdouts not among it: else what nobody knows is false or empty
	partial bool // it leaves entities out
	ask     func(u eval.User, number int) (map[entity]answer, error)
}

// reference is the answer that a voice has to give; known is false where the
// voice must take the name for nobody's.
func (h *hearing) reference(e entity, v voice, u eval.User) (want answer, known bool) {
	if v.client {
		u = completed(u)
	}
	res := eval.Result{}
	if h.visible(e, v) && !(v.listing && e.kind == flags.KindHoldout) {
		res = h.decide(&u, e)
	}
	want = answer{Value: any(res.Pass), Rule: &res.RuleID, Group: &res.GroupName, Experiment: &res.AllocatedExperiment}
	if e.ref().Section != eval.Gates {
		want.Value = map[string]any{}
		if len(res.Value) > 0 {
			want.Value = decoded(res.Value)
		}
	}
	return want, res.Found
}

func (h *hearing) decide(u *eval.User, e entity) eval.Result {
	switch e.ref().Section {
	case eval.Gates:
		return h.rules.Gate(u, e.name)
	case eval.Layers:
		return h.rules.Layer(u, e.name)
	}
	return h.rules.Config(u, e.name)
}

// completed is a user of a client key, whose address and browser are taken from
// the request.
func completed(u eval.User) eval.User {
	if u.IP == "" {
		u.IP = "127.0.0.1"
	}
	if u.UserAgent == "" {
		u.UserAgent = "Go-http-client/1.1"
	}
	return u
}

// visible says whether a voice may know of an entity, from what people wrote. A
// payload has what is for clients, whoever asks for it.
func (h *hearing) visible(e entity, v voice) bool {
	if !v.client && !v.payload || e.name == beacon {
		return true
	}
	for _, d := range h.drawn.Documents {
		if made, _ := entityOf(d); made != e {
			continue
		}
		visible, apps := true, []string(nil)
		switch d := d.(type) {
		case *flags.Gate:
			visible, apps = d.ClientVisible == nil || *d.ClientVisible, d.TargetApps
		case *flags.Config:
			visible, apps = d.ClientVisible == nil || *d.ClientVisible, d.TargetApps
		case *flags.Experiment:
			apps = d.TargetApps
		case *flags.Layer:
			apps = d.TargetApps
		default:
			return false
		}
		return visible && (h.app == "" || slices.Contains(apps, h.app))
	}
	return false
}

// agents read user agents as the edge does.
var agents = lookup.NewAgents()

// download compiles the rules that the server key downloads, with the members of
// id lists as they were written.
// Countries are those that users state: the edge has no table of addresses.
func (h *hearing) download() *eval.Ruleset {
	h.t.Helper()
	body := h.project.Must(http.StatusOK, nil, h.server, "GET", "/v1/download_config_specs", nil).Body
	specs, err := eval.ParseSpecs(body)
	if err != nil {
		h.t.Fatalf("the download is not to be read: %v", err)
	}
	options := eval.Options{UserAgent: agents, IDLists: map[string]*eval.IDList{}}
	for segment, members := range h.drawn.Members {
		var made struct{ ID string }
		h.project.Must(http.StatusOK, &made, h.project.Console, "GET", h.project.Path("segments", url.PathEscape(segment)), nil)
		options.IDLists[made.ID] = eval.NewIDListOf(members)
	}
	return eval.Compile(specs, options)
}

func decoded(raw json.RawMessage) (v any) {
	if err := json.Unmarshal(raw, &v); err != nil {
		return fmt.Sprintf("no JSON: %s", raw)
	}
	return v
}
