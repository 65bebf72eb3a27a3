// Package exposure records what the edge decided on behalf of others.
//
// Recording is off the request path: an answer never waits for the facts stream,
// and is the same whether the stream takes the fact or not. A unit that asks for
// the same thing all day is one fact an hour, on this edge and across edges: the
// fact's id is derived from what it says, and of all edges the one that claims it
// records it. Where claims cannot be asked for there may be a second one with the
// same id, which counts once.
package exposure

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-flags/sluice/internal/bus/pseudonym"
	"github.com/sluice-flags/sluice/pkg/eval"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// A Publisher stores facts durably.
type Publisher interface {
	Publish(ctx context.Context, b events.Batch) (duplicates int, err error)
}

// Keys are the secrets by which ids of units are hashed, for projects that do not
// want them stored.
type Keys interface {
	Of(ctx context.Context, project string) (pseudonym.Key, error)
}

// Claims divide among edges what only one of them is to record.
type Claims interface {
	// Take says which of ids are the caller's, and what to call when these could not
	// be stored.
	Take(ctx context.Context, ids []events.FactID) (mine []bool, giveBack func(context.Context))
}

// A Decision is what the edge decided, and for whom.
type Decision struct {
	Project    string
	State      *flags.State // tells experiments from configs
	Key        *flags.Key   // bounds the environment
	User       *eval.User   // may name one
	Kind       string       // events.ExposureGate, ExposureConfig or ExposureLayer
	Result     eval.Result
	SDK        string
	SDKVersion string
}

// Options bound what recording may cost. The zero value works.
type Options struct {
	Queue    int           // decisions that may wait; default 10,000
	Remember int           // decisions of this hour that are remembered; default 500,000
	Timeout  time.Duration // for what is gathered to reach the stream, or to be given up; default 10 s
	Claims   Claims        // nil: no other edge records

	Logger     *slog.Logger
	Registerer prometheus.Registerer
}

// A Recorder turns decisions into facts. Run it with [Recorder.Run].
type Recorder struct {
	publisher Publisher
	keys      Keys
	options   Options
	queue     chan fact
	dropped   prometheus.Counter
	recorded  prometheus.Counter
	recent    *recent
	places    places
}

type fact struct {
	project  string
	exposure events.Exposure
	hashed   bool // a hash is to stand in for the unit's id
}

// New returns a recorder that stores what it is told through p.
func New(p Publisher, keys Keys, o Options) *Recorder {
	o.Queue = cmp.Or(o.Queue, 10_000)
	o.Remember = cmp.Or(o.Remember, 500_000)
	o.Timeout = cmp.Or(o.Timeout, 10*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Recorder{
		publisher: p, keys: keys, options: o,
		queue:    make(chan fact, o.Queue),
		dropped:  prometheus.NewCounter(prometheus.CounterOpts{Name: "edge_exposures_dropped_total", Help: "Exposures of remote evaluations that could not be stored."}),
		recorded: prometheus.NewCounter(prometheus.CounterOpts{Name: "edge_exposures_recorded_total", Help: "Exposures of remote evaluations that were stored."}),
		recent:   newRecent(o.Remember),
	}
	if o.Registerer != nil {
		o.Registerer.MustRegister(r.dropped, r.recorded)
	}
	return r
}

// Record notes a decision, unless this hour has it already. It does not wait; when
// too many are waiting already, the decision is counted as dropped.
func (r *Recorder) Record(d Decision) {
	at := r.places.of(d.State, d.Key)
	e, ok := describe(d, at, time.Now())
	if !ok || !r.recent.add(e.ID, e.Time/time.Hour.Milliseconds()) {
		return
	}
	select {
	case r.queue <- fact{d.Project, e, at.settings.HashUnitIDs}:
	default:
		r.recent.forget(e.ID)
		r.dropped.Inc()
	}
}

// maxBatch is how many facts go into one batch.
const maxBatch = 1000

// Run stores facts until ctx is done, and what waits then.
func (r *Recorder) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.options.Timeout)
			defer cancel()
			for len(r.queue) > 0 {
				r.store(last, r.gather(<-r.queue))
			}
			return nil
		case first := <-r.queue:
			// Once begun it is ended: whose a claim is would not be known else.
			batch, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.options.Timeout)
			r.store(batch, r.gather(first))
			cancel()
		}
	}
}

// gather takes what waits, by project.
func (r *Recorder) gather(first fact) map[string][]fact {
	out := make(map[string][]fact)
	n := 0
	for f, more := first, true; more; {
		out[f.project] = append(out[f.project], f)
		if n++; n == maxBatch {
			return out
		}
		select {
		case f = <-r.queue:
		default:
			more = false
		}
	}
	return out
}

// store takes as long as ctx lets it; what could not be stored in the first three
// quarters is given up, and the claims on it are given back in the last.
func (r *Recorder) store(ctx context.Context, batches map[string][]fact) {
	end, _ := ctx.Deadline()
	storing, cancel := context.WithDeadline(ctx, end.Add(-r.options.Timeout/4))
	defer cancel()
	for project, waiting := range batches {
		stored, giveBack, err := r.publish(storing, project, waiting)
		if err == nil {
			r.recorded.Add(float64(stored))
			continue
		}
		// The next request of each of these units tries again, here or elsewhere.
		giveBack(ctx)
		for i := range waiting {
			r.recent.forget(waiting[i].exposure.ID)
		}
		r.dropped.Add(float64(len(waiting)))
		r.options.Logger.WarnContext(ctx, "exposures dropped", slog.Int("count", len(waiting)), slog.Any("error", err))
	}
}

// publish stores facts of one project that no other edge has recorded, and returns
// how many, and what gives back the claims on them; with hashes in place of ids of
// units where the project wants that. Without the key nothing is stored: an id that
// was promised to be hashed never is, and no fact's id is made of it.
func (r *Recorder) publish(ctx context.Context, project string, waiting []fact) (stored int, giveBack func(context.Context), err error) {
	giveBack = func(context.Context) {}
	if err := ctx.Err(); err != nil {
		return 0, giveBack, err
	}
	exposures, ids := make([]events.Exposure, len(waiting)), make([]events.FactID, len(waiting))
	for i, f := range waiting {
		if f.hashed {
			key, err := r.keys.Of(ctx, project)
			if err != nil {
				return 0, giveBack, err
			}
			f.exposure.UnitID = key.Hash(f.exposure.UnitID)
			f.exposure.ID = identify(project, &f.exposure)
		}
		exposures[i], ids[i] = f.exposure, f.exposure.ID
	}
	if r.options.Claims != nil {
		var mine []bool
		mine, giveBack = r.options.Claims.Take(ctx, ids)
		ours := exposures[:0]
		for i, e := range exposures {
			if mine[i] {
				ours = append(ours, e)
			}
		}
		exposures = ours
	}
	if len(exposures) == 0 {
		return 0, giveBack, nil
	}
	_, err = r.publisher.Publish(ctx, events.Batch{Project: project, Exposures: exposures})
	return len(exposures), giveBack, err
}

// describe turns a decision at a place into a fact, or says that there is nothing
// to record: unknown names decide nothing, and a decision without a unit is
// nobody's.
func describe(d Decision, at *place, now time.Time) (events.Exposure, bool) {
	res := d.Result
	if !res.Found {
		return events.Exposure{}, false
	}
	ms := now.UnixMilli()
	e := events.Exposure{
		Time: ms, Received: ms,
		Environment: flags.EnvironmentOf(at.environments, d.User.StatsigEnvironment["tier"]),
		Kind:        d.Kind, Name: res.Name, RuleID: res.RuleID, Group: events.NoGroup,
		Override: flags.KindOfRule(res.RuleID) == flags.RuleOverride,
		Sequence: res.Sequence, SDKType: d.SDK, SDKVersion: d.SDKVersion, Reason: res.Reason.String(),
	}
	name := res.Name
	switch d.Kind {
	case events.ExposureGate:
		e.Value = "false"
		if res.Pass {
			e.Value = "true"
		}
	case events.ExposureLayer:
		if res.AllocatedExperiment == "" {
			break
		}
		name, e.Layer = res.AllocatedExperiment, res.Name
		fallthrough
	case events.ExposureConfig:
		entity, ok := d.State.ByName(flags.KindExperiment, name)
		experiment, isExperiment := entity.Doc.(*flags.Experiment)
		if !ok || !isExperiment {
			break
		}
		e.Kind, e.Name, e.Value = events.ExposureExperiment, name, res.GroupName
		if index, _, ok := experiment.Arm(res.RuleID); ok {
			e.Group = uint8(index)
		}
	}
	e.UnitType = cmp.Or(res.IDType, "userID")
	if e.UnitID = d.User.UnitID(e.UnitType); e.UnitID == "" {
		return events.Exposure{}, false
	}
	e.Metadata = kept(at.settings, d.User)
	e.ID = identify(d.Project, &e)
	return e, true
}

// kept are the attributes of a user that the project wants stored, private ones
// never.
func kept(p *flags.Project, u *eval.User) (pairs []events.Pair) {
	for _, name := range p.KeepAttributes {
		if text := attribute(u, name); text != "" && len(text) <= maxAttribute && !p.Drops(name) {
			pairs = append(pairs, events.Pair{Name: "user." + name, Value: text})
		}
	}
	events.SortPairs(pairs)
	return pairs
}

const maxAttribute = 1 << 10 // bytes

// attribute is the text of a user's attribute, or "".
func attribute(u *eval.User, name string) string {
	own := map[string]string{"email": u.Email, "ip": u.IP, "userAgent": u.UserAgent, "country": u.Country, "locale": u.Locale, "appVersion": u.AppVersion}
	if text := own[name]; text != "" {
		return text
	}
	switch v := u.Custom[name].(type) {
	case nil:
		return ""
	case string:
		return v
	default:
		text, err := json.Marshal(v)
		if err != nil {
			return ""
		}
		return string(text)
	}
}

// identify derives the fact's id: equal for one unit, entity, rule and hour,
// whichever edge decided.
func identify(project string, e *events.Exposure) events.FactID {
	said := make([]byte, 0, 512)
	said = binary.BigEndian.AppendUint64(said, uint64(e.Time/time.Hour.Milliseconds()))
	for _, text := range [...]string{project, e.Environment, e.Kind, e.Name, e.Layer, e.RuleID, e.UnitType, e.UnitID} {
		said = append(binary.BigEndian.AppendUint32(said, uint32(len(text))), text...)
	}
	sum := sha256.Sum256(said)
	return events.FactID(sum[:16])
}
