package command_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/control/internal/command"
)

// env counts ids from the state's sequence, so that two decisions on one state
// can be compared, and those on two never share an id.
func env(s *flags.State) command.Env {
	n := s.Seq() * 1000
	return command.Env{Now: time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC), NewID: func(prefix string) string {
		n++
		return fmt.Sprintf("%s%d", prefix, n)
	}}
}

// after folds a decision into a state, as the log would.
func after(t *testing.T, s *flags.State, d command.Decision) *flags.State {
	t.Helper()
	for _, draft := range d.Drafts {
		e := flags.Entity{
			Ref: flags.Ref{Kind: draft.Kind, ID: draft.Entity}, Name: draft.Name, Raw: draft.Document,
			Version: draft.EntityVersion, Seq: s.Seq() + 1, Created: draft.Created, Deleted: draft.Document == nil,
		}
		if !e.Deleted {
			doc, err := flags.Load(draft.Kind, draft.Document)
			if err != nil {
				t.Fatal(err)
			}
			e.Doc = doc
		}
		s = s.Put(e)
	}
	return s
}

func decide(t *testing.T, s *flags.State, c command.Command) (*flags.State, command.Decision) {
	t.Helper()
	d, err := c.Decide(s, env(s))
	if err != nil {
		t.Fatalf("Decide(%T) = %v, want a decision", c, err)
	}
	return after(t, s, d), d
}

func doc(t *testing.T, kind flags.Kind, text string) flags.Document {
	t.Helper()
	d, err := flags.Decode(kind, []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// shop is a project that has begun and has the gate g.
func shop(t *testing.T) *flags.State {
	t.Helper()
	s, _ := decide(t, flags.NewState("shop"), command.Found{Doc: &flags.Project{Name: "shop"}})
	s, _ = decide(t, s, command.Create{Doc: doc(t, flags.KindGate, `{"name":"g","rules":[{"passPercentage":10,"conditions":[{"type":"public"}]}]}`)})
	return s
}

func TestAProjectBeginsWithThreeEnvironmentsAndOnlyOnce(t *testing.T) {
	s, d := decide(t, flags.NewState("shop"), command.Found{Doc: &flags.Project{Name: "shop"}})
	var got []string
	for _, draft := range d.Drafts {
		got = append(got, draft.Entity)
	}
	if diff := cmp.Diff([]string{"proj_shop", "env_development", "env_staging", "env_production"}, got); diff != "" {
		t.Errorf("Found drafts (-want +got):\n%s", diff)
	}
	if _, again := decide(t, s, command.Found{Doc: &flags.Project{Name: "shop"}}); !again.Noop() {
		t.Errorf("Found again = %+v, want nothing to do", again.Drafts)
	}
}

func TestADecisionIsAFunctionOfItsArguments(t *testing.T) {
	s := shop(t)
	before, err := json.Marshal(allDocs(s))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []command.Command{
		command.Create{Doc: doc(t, flags.KindGate, `{"name":"h","rules":[{"passPercentage":1,"conditions":[{"type":"public"}]}]}`)},
		command.Act{Kind: flags.KindGate, Name: "g", Action: "kill"},
		command.Change{Kind: flags.KindGate, Name: "g", Match: command.Match{Any: true}, Edit: command.Patch(json.RawMessage(`{"rules":[],"team":"x"}`))},
		command.Delete{Kind: flags.KindGate, Name: "g", Match: command.Match{Any: true}, Confirm: "g"},
	} {
		one, err1 := c.Decide(s, env(s))
		two, err2 := c.Decide(s, env(s))
		if err1 != nil || err2 != nil {
			t.Fatalf("Decide(%T) = %v, %v; want decisions", c, err1, err2)
		}
		if diff := cmp.Diff(one.Drafts, two.Drafts); diff != "" {
			t.Errorf("Decide(%T) twice (-first +second):\n%s", c, diff)
		}
		if one.Noop() {
			t.Errorf("Decide(%T) does nothing", c)
		}
	}
	if now, err := json.Marshal(allDocs(s)); err != nil || string(now) != string(before) {
		t.Errorf("deciding changed the state from %s to %s", before, now)
	}
}

func allDocs(s *flags.State) []flags.Document {
	var out []flags.Document
	for e := range s.Entities() {
		out = append(out, e.Doc)
	}
	return out
}

func TestCommandsAreRefusedWithAReason(t *testing.T) {
	s := shop(t)
	any := command.Match{Any: true}
	keep := func(d flags.Document, _ command.Env) (flags.Document, error) { return d, nil }
	for _, c := range []struct {
		name string
		cmd  command.Command
		want command.Reason
	}{
		{"changing what is not there", command.Change{Kind: flags.KindGate, Name: "x", Match: any, Edit: keep}, command.NotFound},
		{"changing without a version", command.Change{Kind: flags.KindGate, Name: "g", Edit: keep}, command.Missing},
		{"changing an old version", command.Change{Kind: flags.KindGate, Name: "g", Match: command.Match{Seq: 1}, Edit: keep}, command.Stale},
		{"deleting without saying so twice", command.Delete{Kind: flags.KindGate, Name: "g", Match: any}, command.Confirm},
		{"creating over what is there", command.CreateOnly{Create: command.Create{Doc: doc(t, flags.KindGate, `{"name":"G","rules":[]}`)}}, command.Stale},
		{"an action that is none", command.Act{Kind: flags.KindGate, Name: "g", Action: "explode", Match: any}, command.NotFound},
		{"enrolling twice", command.Enroll{Doc: &flags.Project{Name: "shop"}}, command.Exists},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := c.cmd.Decide(s, env(s))
			if r, ok := errors.AsType[*command.Refusal](err); !ok || r.Reason != c.want {
				t.Errorf("Decide() = %v, want a refusal for %s", err, c.want)
			}
		})
	}
	_, err := command.Create{Doc: doc(t, flags.KindGate, `{"name":"g","rules":[]}`)}.Decide(s, env(s))
	if p, ok := errors.AsType[flags.Problems](err); !ok || p[0].Code != flags.CodeTaken {
		t.Errorf("creating a taken name = %v, want the problem with it", err)
	}
}

func TestWhatIsSoAlreadyIsNoChange(t *testing.T) {
	s, _ := decide(t, shop(t), command.Act{Kind: flags.KindGate, Name: "g", Action: "kill"})
	for _, c := range []command.Command{
		command.Act{Kind: flags.KindGate, Name: "g", Action: "kill"},
		command.Act{Kind: flags.KindGate, Name: "g", Action: "kill", Parameters: command.Parameters{Environments: []string{"staging"}}},
		command.Act{Kind: flags.KindGate, Name: "g", Action: "enable", Match: command.Match{Any: true}},
		command.Change{Kind: flags.KindGate, Name: "g", Match: command.Match{Any: true}, Edit: command.Patch(json.RawMessage(`{"status":"inProgress"}`))},
	} {
		if _, d := decide(t, s, c); !d.Noop() || len(d.Operations()) != 0 {
			t.Errorf("Decide(%+v) = %+v, want nothing to do", c, d.Drafts)
		}
	}
}

func TestKillAndReviveTouchTheGivenEnvironmentsOnly(t *testing.T) {
	s := shop(t)
	off := func() []string {
		e, _ := s.Find(flags.KindGate, "g")
		return e.Doc.(*flags.Gate).OffIn
	}
	for _, step := range []struct {
		action string
		where  []string
		want   []string
	}{
		{"kill", []string{"production"}, []string{"production"}},
		{"kill", []string{"staging", "production"}, []string{"production", "staging"}},
		{"revive", []string{"production"}, []string{"staging"}},
		{"kill", nil, []string{"staging", "development", "production"}},
		{"revive", nil, []string{}},
	} {
		s, _ = decide(t, s, command.Act{Kind: flags.KindGate, Name: "g", Action: step.action, Match: command.Match{Any: true}, Parameters: command.Parameters{Environments: step.where}})
		if diff := cmp.Diff(step.want, append([]string{}, off()...)); diff != "" {
			t.Errorf("%s in %v leaves off in (-want +got):\n%s", step.action, step.where, diff)
		}
	}
}

func TestADraftCarriesWhatTheLogNeeds(t *testing.T) {
	s := shop(t)
	was, _ := s.Find(flags.KindGate, "g")
	_, d := decide(t, s, command.Change{Kind: flags.KindGate, Name: "g", Match: command.Match{Seq: was.Seq}, Edit: command.Patch(json.RawMessage(`{"name":"g2"}`))})
	got := d.Drafts[0]
	if got.EntityVersion != was.Version+1 || got.Name != "g2" || got.Entity != was.Ref.ID || len(got.Operations) == 0 || got.Created != was.Created {
		t.Errorf("draft = %+v, want version %d of %s under its new name, with operations", got, was.Version+1, was.Ref.ID)
	}
	_, gone := decide(t, s, command.Delete{Kind: flags.KindGate, Name: "g", Match: command.Match{Seq: was.Seq}, Confirm: "G"})
	want := events.Draft{Kind: flags.KindGate, Entity: was.Ref.ID, EntityVersion: was.Version + 1, Name: "g", Created: was.Created}
	if diff := cmp.Diff(want, gone.Drafts[0], cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Operations" }, cmp.Ignore())); diff != "" {
		t.Errorf("tombstone (-want +got):\n%s", diff)
	}
}

func TestAMergePatchFollowsTheRFC(t *testing.T) {
	s := shop(t)
	for _, c := range []struct{ name, patch, member, want string }{
		{"a member is replaced", `{"team":"b"}`, "team", `"b"`},
		{"null removes", `{"description":null}`, "description", ``},
		{"objects merge", `{"metadata":{"b":2}}`, "metadata", `{"a":1,"b":2}`},
		{"null inside an object removes there", `{"metadata":{"a":null,"b":{"c":null}}}`, "metadata", `{"b":{}}`},
		{"lists are replaced", `{"tags":["<z>"]}`, "tags", `["<z>"]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			base, _ := decide(t, s, command.Change{Kind: flags.KindGate, Name: "g", Match: command.Match{Any: true},
				Edit: command.Patch(json.RawMessage(`{"team":"a","description":"d","metadata":{"a":1},"tags":["x","y"]}`))})
			_, d := decide(t, base, command.Change{Kind: flags.KindGate, Name: "g", Match: command.Match{Any: true}, Edit: command.Patch(json.RawMessage(c.patch))})
			var got map[string]json.RawMessage
			if err := json.Unmarshal(d.Drafts[0].Document, &got); err != nil {
				t.Fatal(err)
			}
			if string(got[c.member]) != c.want {
				t.Errorf("%s makes %s %s, want %s", c.patch, c.member, got[c.member], c.want)
			}
		})
	}
}

func TestWarningsNameWhatIsHardlyMeant(t *testing.T) {
	public := `{"passPercentage":50,"conditions":[{"type":"public"}]}`
	for _, c := range []struct{ name, text, want string }{
		{"a gate as it should be", `{"name":"g","rules":[` + public + `]}`, ""},
		{"a temporary gate without an end", `{"name":"g","type":"temporary","rules":[]}`, "/expiresAt no_expiry"},
		{"a rule behind one for everybody", `{"name":"g","rules":[` + public + `,` + public + `]}`, "/rules/1 unreachable"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ""
			for _, w := range command.Warnings(doc(t, flags.KindGate, c.text)) {
				got += w.Pointer + " " + w.Code
			}
			if got != c.want {
				t.Errorf("Warnings(%s) = %q, want %q", c.text, got, c.want)
			}
		})
	}
}
