package sluice

import (
	"encoding/json"
	"hash/maphash"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/sluice-flags/sluice/pkg/eval"
)

// The names of exposures on the wire.
const (
	gateExposure   = "statsig::gate_exposure"
	configExposure = "statsig::config_exposure"
	layerExposure  = "statsig::layer_exposure"
)

// An Event is something that a user did, for metrics to count.
type Event struct {
	User     User
	Name     string
	Value    any               // a number or a string; nil for none
	Metadata map[string]string // searchable by analysts
	Time     time.Time         // now, if zero
}

// A wireEvent is an event or exposure as the log endpoint takes it.
type wireEvent struct {
	Name      string                   `json:"eventName"`
	User      User                     `json:"user"`
	Value     any                      `json:"value"`
	Metadata  map[string]string        `json:"metadata"`
	Secondary []eval.SecondaryExposure `json:"secondaryExposures,omitempty"`
	Time      int64                    `json:"time"`
}

// LogEvent queues an event for sending; see [WithQueueSize] for what happens
// when the queue is full.
func (c *Client) LogEvent(e Event) {
	if c.recorder == nil {
		return
	}
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	c.recorder.add(&e.User, wireEvent{Name: e.Name, Value: e.Value, Metadata: e.Metadata, Time: e.Time.UnixMilli()})
}

func (r *recorder) gate(u *User, res *eval.Result) {
	now := time.Now()
	if !r.seen.first(exposureKey{kind: 'g', user: r.seen.identity(u), name: res.Name, rule: res.RuleID, pass: res.Pass}, now) {
		return
	}
	m := metadata(res, "gate")
	m["gateValue"] = strconv.FormatBool(res.Pass)
	r.add(u, wireEvent{Name: gateExposure, Metadata: m, Secondary: res.SecondaryExposures(), Time: now.UnixMilli()})
}

func (r *recorder) config(u *User, res *eval.Result) {
	now := time.Now()
	if !r.seen.first(exposureKey{kind: 'c', user: r.seen.identity(u), name: res.Name, rule: res.RuleID, pass: res.Pass}, now) {
		return
	}
	m := metadata(res, "config")
	m["rulePassed"] = strconv.FormatBool(res.Pass)
	r.add(u, wireEvent{Name: configExposure, Metadata: m, Secondary: res.SecondaryExposures(), Time: now.UnixMilli()})
}

// layer records that a parameter was read. Only a parameter that the allocated
// experiment owns exposes to that experiment.
func (r *recorder) layer(u *User, res *eval.Result, parameter string) {
	now := time.Now()
	if !r.seen.first(exposureKey{kind: 'l', user: r.seen.identity(u), name: res.Name, rule: res.RuleID, parameter: parameter, pass: res.Pass}, now) {
		return
	}
	explicit := slices.Contains(res.ExplicitParameters, parameter)
	m := metadata(res, "config")
	m["parameterName"] = parameter
	m["isExplicitParameter"] = strconv.FormatBool(explicit)
	m["allocatedExperiment"] = ""
	secondary := res.UndelegatedSecondaryExposures()
	if explicit {
		m["allocatedExperiment"] = res.AllocatedExperiment
		secondary = res.SecondaryExposures()
	}
	r.add(u, wireEvent{Name: layerExposure, Metadata: m, Secondary: secondary, Time: now.UnixMilli()})
}

// metadata is what all exposures say; kind is the member that holds the name.
func metadata(res *eval.Result, kind string) map[string]string {
	m := map[string]string{
		kind: res.Name, "ruleID": res.RuleID, "reason": res.Reason.String(), "lcut": strconv.FormatInt(res.Time, 10),
	}
	if res.Version != 0 {
		m["configVersion"] = strconv.FormatInt(res.Version, 10)
	}
	return m
}

// encode writes an event about a user. The user's private attributes stay here;
// attributes that JSON cannot express go without, so that the fact is kept.
func (r *recorder) encode(u *User, e wireEvent) ([]byte, error) {
	if u != nil {
		e.User = *u
	}
	e.User.PrivateAttributes = nil
	if e.User.StatsigEnvironment == nil {
		e.User.StatsigEnvironment = r.environment
	}
	text, err := json.Marshal(e)
	if err != nil {
		e.User.Custom = nil
		text, err = json.Marshal(e)
	}
	return text, err
}

// identity digests the ids of a user, whatever their order.
func (d *dedupe) identity(u *User) uint64 {
	if u == nil {
		return 0
	}
	id := maphash.String(d.seed, u.UserID)
	for unit, v := range u.CustomIDs {
		id += maphash.String(d.seed, unit)*31 ^ maphash.String(d.seed, v)
	}
	return id
}

// An exposureKey tells exposures apart that are worth one event each.
type exposureKey struct {
	user                  uint64
	name, rule, parameter string
	kind                  byte
	pass                  bool
}

const (
	dedupeShards  = 16
	maxRemembered = 64 << 10 / dedupeShards // exposures of one shard
)

// dedupe remembers which exposures were logged lately. It forgets all of a
// window at once, and sooner when it holds too much: the price is an exposure
// logged twice, which results do not count twice.
type dedupe struct {
	seed   maphash.Seed
	window time.Duration
	shards [dedupeShards]struct {
		mu    sync.Mutex
		until time.Time
		seen  map[exposureKey]struct{}
	}
}

// first reports whether k was not seen within the window. It allocates only
// when that is so.
func (d *dedupe) first(k exposureKey, now time.Time) bool {
	s := &d.shards[k.user%dedupeShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.seen == nil || !now.Before(s.until) || len(s.seen) >= maxRemembered {
		s.seen, s.until = map[exposureKey]struct{}{}, now.Add(d.window)
	}
	if _, ok := s.seen[k]; ok {
		return false
	}
	s.seen[k] = struct{}{}
	return true
}
