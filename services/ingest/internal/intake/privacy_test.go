package intake

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-flags/sluice/internal/bus/pseudonym"
	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// settledAs is the shop with settings.
func settledAs(p flags.Project) *flags.State {
	s := shop()
	p.ID, p.Name = "proj_shop", "shop"
	return s.Put(flags.Entity{Ref: p.Ref(), Name: "shop", Doc: &p, Version: 1, Seq: s.Seq() + 1})
}

// oneKey is the key of every project, or a failure.
type oneKey struct{ err error }

func (k oneKey) Of(context.Context, string) (pseudonym.Key, error) { return pseudonym.Key{7}, k.err }

func TestHashesStandInForIDsInAllThatIsStored(t *testing.T) {
	s, store := settledAs(flags.Project{HashUnitIDs: true}), new(shelf)
	h := pseudonym.Key{7}.Hash
	entries := []Entry{{Name: "e", Time: 5e11, User: ada}, {Kind: Gate, Name: "Company Gate", RuleID: "gate_2:override", User: ada}, {Name: "e", Time: received.UnixMilli(), User: ada}}
	kept := fmt.Sprintf("%+v", entries)
	in := New(store, changing(s), oneKey{}, nil)
	for range 2 { // a delivery is resolved again, and is what it was
		if _, err := in.Accept(t.Context(), who(s), Delivery{Received: received, Entries: entries}); err != nil {
			t.Fatal(err)
		}
	}
	if got := fmt.Sprintf("%+v", entries); got != kept {
		t.Errorf("Accept changed the entries to %s", got)
	}
	x, e := store.got[1].Exposures[0], store.got[1].Events[0]
	if x.UnitID != h("acme") || !x.Override || x.UnitType != "companyID" {
		t.Errorf("the exposure is of %s %q, override %t; want the hash of acme, by override", x.UnitType, x.UnitID, x.Override)
	}
	want := []events.Pair{{Name: "companyID", Value: h("acme")}, {Name: "stableID", Value: h("st")}, {Name: "userID", Value: h("ada")}}
	if diff := cmp.Diff(want, e.UnitIDs); diff != "" || e.UnitID != h("ada") {
		t.Errorf("the event is of %q; its ids differ (-want +got):\n%s", e.UnitID, diff)
	}
	if plain := resolveAll(shop(), &flags.Key{}, Delivery{Entries: entries[2:]}).batch.Events[0].ID; plain == e.ID {
		t.Error("the event's id is made of plain ids: who guesses them can prove it")
	}
}

func TestWithoutTheKeyNothingIsStored(t *testing.T) {
	s, store := settledAs(flags.Project{HashUnitIDs: true}), new(shelf)
	_, err := New(store, changing(s), oneKey{errors.New("away")}, nil).Accept(t.Context(), who(s), Delivery{Received: received, Entries: []Entry{{Name: "e", User: ada}}})
	if problem, ok := errors.AsType[*web.Error](err); !ok || web.StatusOf(err) != http.StatusServiceUnavailable || problem.RetryAfter <= 0 || len(store.got) != 0 {
		t.Errorf("Accept() without the key = %v with %d batches stored, want 503 with Retry-After and none", err, len(store.got))
	}
}

func TestAttributesAreKeptAndFieldsAreDropped(t *testing.T) {
	s := settledAs(flags.Project{KeepAttributes: []string{"country"}, DropFields: []string{"email", "companyID"}})
	user := ada
	user.Attributes = []events.Pair{{Name: "country", Value: "NZ"}}
	meta := []events.Pair{{Name: "EMAIL", Value: "a@b"}, {Name: "list", Value: `[{"Email":"a@b","n":1}]`}, {Name: "user.country", Value: "forged"}, {Name: "z", Value: "1"}}
	r := resolveAll(s, &flags.Key{}, Delivery{Entries: []Entry{
		{Name: "e", User: user, Value: `{"email":"a@b","total":2}`, Metadata: meta},
		{Kind: Gate, Name: "new_checkout", User: user},
		{Name: "e", User: user, Metadata: meta, Fault: &Fault{Code: "bad_time"}},
	}})
	e := r.batch.Events[0]
	if diff := cmp.Diff([]events.Pair{{Name: "list", Value: `[{"n":1}]`}, {Name: "user.country", Value: "NZ"}, {Name: "z", Value: "1"}}, e.Metadata); diff != "" || e.ValueText != `{"total":2}` {
		t.Errorf("the event's value is %s; metadata differ (-want +got):\n%s", e.ValueText, diff)
	}
	if diff := cmp.Diff([]events.Pair{{Name: "stableID", Value: "st"}, {Name: "userID", Value: "ada"}}, e.UnitIDs); diff != "" {
		t.Errorf("the event's ids differ (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]events.Pair{{Name: "user.country", Value: "NZ"}}, r.batch.Exposures[0].Metadata); diff != "" {
		t.Errorf("the exposure's metadata differ (-want +got):\n%s", diff)
	}
	if want := `{"kind":"event","name":"e","metadata":{"list":"[{\"n\":1}]","user.country":"forged","z":"1"}}`; r.batch.Dead[0].Payload != want {
		t.Errorf("the dead letter is %s, want %s", r.batch.Dead[0].Payload, want)
	}
}

func TestAnIDOfTheClientsIsTheFacts(t *testing.T) {
	entry := func(id string, edit ...func(*Entry)) Entry {
		c := Entry{ID: id, Name: "e", User: ada}
		for _, f := range edit {
			f(&c)
		}
		return c
	}
	ids := func(project string, d Delivery) []events.FactID {
		s := flags.NewState(project)
		d.Received = received
		r := &resolver{state: s, key: &flags.Key{}, names: new(names), delivery: &d, ids: newIdentifier(project, "key", &d, []byte("salt")), privacy: privacy{project: s.Settings()}}
		r.all()
		return r.batch.IDs()
	}
	const uuid = "0198c1a4-6e2b-7c3d-8e4f-0123456789ab"
	if got := ids("shop", Delivery{Entries: []Entry{entry(uuid)}})[0]; fmt.Sprintf("%x", got) != "0198c1a46e2b7c3d8e4f0123456789ab" {
		t.Errorf("a UUID becomes the id %x", got)
	}
	named := ids("shop", Delivery{Entries: []Entry{entry("order-17")}})[0]
	for name, same := range map[string]events.FactID{
		"said otherwise":         ids("shop", Delivery{Entries: []Entry{entry("order-17", func(c *Entry) { c.Name = "f" })}})[0],
		"in a batch with an id":  ids("shop", Delivery{BatchID: uuid, Entries: []Entry{entry("x"), entry("order-17")}})[1],
		"in a session of an SDK": ids("shop", Delivery{SessionID: "s", Entries: []Entry{entry("order-17")}})[0],
	} {
		if same != named {
			t.Errorf("an event with an id has another id %s", name)
		}
	}
	for name, other := range map[string]events.FactID{
		"another name":    ids("shop", Delivery{Entries: []Entry{entry("order-18")}})[0],
		"another project": ids("news", Delivery{Entries: []Entry{entry("order-17")}})[0],
		"its dead letter": ids("shop", Delivery{Entries: []Entry{entry("order-17", func(c *Entry) { c.Fault = &Fault{Code: "bad_time"} })}})[0],
	} {
		if other == named {
			t.Errorf("%s has the same id", name)
		}
	}
	batch := Delivery{BatchID: uuid, Entries: []Entry{entry(""), entry("")}} // of no time
	first, again := ids("shop", batch), ids("shop", batch)
	if diff := cmp.Diff(first, again); diff != "" || first[0] == first[1] {
		t.Errorf("a retry of a batch with an id has other ids, or its twins share one: %x\n%s", first, diff)
	}
}
