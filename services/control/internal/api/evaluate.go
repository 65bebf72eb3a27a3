package api

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// evaluated are the kinds that are decided for somebody, in the order of answers.
var evaluated = []flags.Kind{flags.KindGate, flags.KindConfig, flags.KindExperiment, flags.KindLayer, flags.KindSegment, flags.KindHoldout}

// Bounds of one question: the names in it, and what explains its answers. Gates that
// ask many others repeat what these compare, each time they ask.
const (
	maxAsked  = 1000
	maxTraces = 16 << 20 // bytes
)

// A question is whom to decide for, and what.
type question struct {
	User        *eval.User      `json:"user"`
	Names       []string        `json:"names"`       // none means all
	Environment string          `json:"environment"` // production if left out
	AsOf        json.RawMessage `json:"asOf"`        // as the parameter of reads
	Trace       bool            `json:"trace"`
}

// decided is what one entity comes to for a user.
type decided struct {
	Kind        flags.Kind               `json:"kind"`
	ID          string                   `json:"id"`
	Name        string                   `json:"name"`
	Value       any                      `json:"value"` // whether it passes; of configs, experiments and layers the JSON object
	RuleID      string                   `json:"ruleId"`
	Group       string                   `json:"group,omitempty"`
	Reason      string                   `json:"reason"`
	Experiment  string                   `json:"experiment,omitempty"` // of a layer: the one that decided
	Secondaries []eval.SecondaryExposure `json:"secondaryExposures"`
	Trace       json.RawMessage          `json:"trace,omitempty"` // an [eval.Trace]
}

// evaluate serves what a user gets, now or at any past position, as a server key
// of the environment would. Nobody is exposed by it.
func (a *API) evaluate(c *call) error {
	var q question
	if err := web.Decode(c.r, &q, web.Limits{CaseVariants: true}); err != nil {
		return err
	}
	if q.User == nil {
		return web.Invalid("/user", "required", `say for whom, such as {"userID": "ada"}`)
	}
	if len(q.Names) > maxAsked {
		return web.Invalid("/names", "too_long", "at most %d names are asked at once", maxAsked)
	}
	s, err := c.stateAsked(q.AsOf)
	if err != nil {
		return err
	}
	name := q.Environment
	if name == "" {
		name = flags.Production
	}
	environment, ok := s.Find(flags.KindEnvironment, name)
	if !ok {
		return web.Invalid("/environment", "missing", "there is no environment of this name")
	}
	if q.User.StatsigEnvironment == nil {
		q.User.StatsigEnvironment = map[string]string{"tier": environment.Name}
	}
	asked, err := q.entities(s)
	if err != nil {
		return err
	}
	rules := a.rulesOf(s, environment.Ref.ID)
	answers, traces := []decided{}, 0
	for _, e := range asked {
		d, ok, err := q.decide(rules, e)
		if err != nil {
			return err
		}
		if traces += len(d.Trace); traces > maxTraces {
			return web.Invalid("/trace", "too_long", "the explanations take more than %d MiB: ask for fewer names at once", maxTraces>>20)
		}
		if ok || len(q.Names) > 0 {
			answers = append(answers, d)
		}
	}
	return web.Respond(c.w, http.StatusOK, map[string]any{"sequence": s.Seq(), "environment": environment.Name, "results": answers})
}

// compiled are the rules of a state in an environment.
type compiled struct {
	state       *flags.State
	environment string // id
	rules       *eval.Ruleset
}

// rulesOf compiles a state for an environment, unless it was asked for last:
// whoever tries users out asks about one again and again.
func (a *API) rulesOf(s *flags.State, environment string) *eval.Ruleset {
	if last := a.compiled.Load(); last != nil && last.state == s && last.environment == environment {
		return last.rules
	}
	scope := flags.Scope{Kind: flags.KeyServer, Environments: []string{environment}}
	options := eval.Options{Sequence: s.Seq(), UserAgent: a.agents, IDLists: map[string]*eval.IDList{}}
	for name, list := range flags.IDLists(s, scope) {
		options.IDLists[name] = list.Members()
	}
	rules := eval.Compile(flags.Lower(s, scope), options)
	a.compiled.Store(&compiled{s, environment, rules})
	return rules
}

// stateAsked is the newest state, or the one of asOf, which a body has as a text
// or a number.
func (c *call) stateAsked(asOf json.RawMessage) (*flags.State, error) {
	var text string
	if json.Unmarshal(asOf, &text) != nil {
		text = string(asOf)
	}
	if len(asOf) > 0 && string(asOf) != "null" {
		c.query.Set("asOf", text)
	}
	return c.state()
}

// entities are those that the question is about, each once.
func (q *question) entities(s *flags.State) ([]flags.Entity, error) {
	var out []flags.Entity
	if len(q.Names) == 0 {
		for _, kind := range evaluated {
			for e := range s.All(kind) {
				out = append(out, e)
			}
		}
		return out, nil
	}
	seen := map[flags.Ref]bool{}
	for i, name := range q.Names {
		found := false
		for _, kind := range evaluated {
			e, ok := s.Find(kind, name)
			found = found || ok
			if ok && !seen[e.Ref] {
				out, seen[e.Ref] = append(out, e), true
			}
		}
		if !found {
			missing := web.FieldProblem{Pointer: "/names/" + strconv.Itoa(i), Code: "missing", Message: "there is nothing of this name that can be evaluated"}
			return nil, &web.Error{Code: web.CodeNotFound, Message: missing.Message, Problems: []web.FieldProblem{missing}}
		}
	}
	return out, nil
}

// decide asks for one entity. It says false if the environment does not have it.
func (q *question) decide(rules *eval.Ruleset, e flags.Entity) (d decided, has bool, err error) {
	ref, ok := flags.WireRef(e.Ref.Kind, e.Name)
	if !ok {
		return decided{}, false, nil
	}
	result, trace := rules.Trace(q.User, ref)
	d = decided{
		Kind: e.Ref.Kind, ID: e.Ref.ID, Name: e.Name, Value: result.Pass, RuleID: result.RuleID, Group: result.GroupName,
		Reason: result.Reason.String(), Experiment: result.AllocatedExperiment, Secondaries: result.SecondaryExposures(),
	}
	if ref.Section != eval.Gates {
		d.Value = result.Value
		if result.Value == nil {
			d.Value = struct{}{} // as SDKs answer
		}
	}
	if d.Secondaries == nil {
		d.Secondaries = []eval.SecondaryExposure{}
	}
	if q.Trace {
		d.Trace, err = json.Marshal(trace)
	}
	return d, result.Found, err
}
