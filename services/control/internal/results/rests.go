package results

import (
	"sync"
	"time"
)

// rests hold back those who refresh rollups unasked from one that has failed: what
// fails every time would keep the warehouse busy for nobody. Each failure doubles
// the rest; another definition ends it, or a success, be it that of a report that
// somebody asked for. The zero value holds back nothing.
type rests struct {
	mu  sync.Mutex
	all map[restsOf]rest
}

// restsOf names what rests: the rollup of an experiment, by names as in a plan.
type restsOf struct{ project, experiment string }

type rest struct {
	definitions string
	lasts       time.Duration
	until       time.Time
}

// How long a rest lasts after one failure, and at most.
const (
	firstRest   = 10 * time.Second
	longestRest = 10 * time.Minute
)

// hold reports whether the rollup of p rests still.
func (r *rests) hold(p *plan, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	one, ok := r.all[restsOf{p.project, p.experiment}]
	return ok && one.definitions == p.version() && now.Before(one.until)
}

// begin has the rollup of p rest, which has failed.
func (r *rests) begin(p *plan, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := restsOf{p.project, p.experiment}
	one := rest{definitions: p.version(), lasts: firstRest}
	if last, ok := r.all[key]; ok && last.definitions == one.definitions {
		one.lasts = min(2*last.lasts, longestRest)
	}
	one.until = now.Add(one.lasts)
	if r.all == nil {
		r.all = map[restsOf]rest{}
	}
	r.all[key] = one
}

// end forgets that the rollup of p has failed.
func (r *rests) end(p *plan) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.all, restsOf{p.project, p.experiment})
}
