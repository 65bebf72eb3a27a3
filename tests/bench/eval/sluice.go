package main

import (
	"encoding/json"
	"hash/maphash"
	"sync"
	"time"

	"github.com/sluice-flags/sluice/pkg/eval"
)

func sluice() engine {
	rules := sluiceRules(0)
	users := sluiceUsers()
	return engine{
		name: "Sluice",
		check: func(k kind) func(int) bool {
			name := k.key()
			if k == variants {
				return func(i int) bool { res := rules.Config(&users[i], name); return len(res.Value) > 2 }
			}
			return func(i int) bool { res := rules.Gate(&users[i], name); return res.Pass }
		},
		rule: func(i int) string { return rules.Gate(&users[i], tenRules.key()).RuleID },
		color: func(i int) string {
			var v struct{ Color string }
			if err := json.Unmarshal(rules.Config(&users[i], variants.key()).Value, &v); err != nil {
				panic(err)
			}
			return v.Color
		},
		exposed: func() func(int) {
			r := newRecorder()
			return func(i int) {
				res := rules.Gate(&users[i], onOff.key())
				r.record(&users[i], &res)
			}
		}(),
		all: func() func(int) int {
			rules, buffers := sluiceRules(1000), sync.Pool{New: func() any { return new([]byte) }}
			return func(i int) int {
				body := buffers.Get().(*[]byte)
				defer buffers.Put(body)
				*body = rules.AppendClient((*body)[:0], &users[i], eval.ClientOptions{})
				return len(*body)
			}
		},
		loader: func(n int) func() (any, func()) {
			body := statsigBody(n)
			return func() (any, func()) {
				return eval.Compile(must(eval.ParseSpecs(body)), eval.Options{}), func() {}
			}
		},
	}
}

func sluiceRules(n int) *eval.Ruleset {
	return eval.Compile(must(eval.ParseSpecs(statsigBody(n))), eval.Options{
		IDLists: map[string]*eval.IDList{"big": eval.NewIDListOf(segmentIDs())},
	})
}

func sluiceUsers() []eval.User {
	out := make([]eval.User, len(subjects))
	for i, s := range subjects {
		out[i] = eval.User{
			UserID: s.id, Email: s.email, Country: s.country, AppVersion: s.version,
			Custom: map[string]any{"plan": s.plan},
		}
	}
	return out
}

// A recorder does what an embedder does with an exposure: drop what the same unit
// has seen this minute, note the time of the rest, and queue it for whoever sends
// it. A minute is forgotten at once when it ends, so that repeats need no clock.
type recorder struct {
	seed  maphash.Seed
	mu    sync.Mutex
	seen  map[uint64]struct{}
	queue []exposure
}

type exposure struct {
	unit, flag, rule string
	version, at      int64
}

const (
	repeats    = time.Minute
	queueLimit = 10_000
)

func newRecorder() *recorder {
	r := &recorder{seed: maphash.MakeSeed(), seen: map[uint64]struct{}{}}
	go func() { // for as long as the program runs
		for range time.Tick(repeats) {
			r.mu.Lock()
			clear(r.seen)
			r.mu.Unlock()
		}
	}()
	return r
}

func (r *recorder) record(u *eval.User, res *eval.Result) {
	var buf [128]byte
	b := append(append(buf[:0], u.UserID...), 0)
	b = append(append(b, res.Name...), 0)
	h := maphash.Bytes(r.seed, append(b, res.RuleID...))
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.seen[h]; ok {
		return
	}
	r.seen[h] = struct{}{}
	if len(r.queue) == queueLimit {
		r.queue = r.queue[:0] // sent
	}
	r.queue = append(r.queue, exposure{u.UserID, res.Name, res.RuleID, res.Version, time.Now().UnixMilli()})
}
