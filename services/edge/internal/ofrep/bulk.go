package ofrep

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	protocol "github.com/sluice-flags/sluice/internal/ofrep"
	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/flags"
	"github.com/sluice-flags/sluice/services/edge/internal/follower"
)

// applyWithin bounds the wait for a change that a client has heard of from
// another edge and this one has not seen yet.
const applyWithin = 2 * time.Second

// bulk serves everything that the key may see.
func (a *API) bulk(w http.ResponseWriter, r *http.Request) error {
	v, err := a.enter(w, r)
	if err != nil {
		return err
	}
	query := r.URL.Query()
	if seq, ok := heardOf(query.Get("flagConfigEtag")); ok && v.Version.Seq < seq {
		awaitSeq(r.Context(), v.scope, seq)
		if err := a.refresh(w, r, v); err != nil {
			return err
		}
	}
	if err := v.read(a, r); err != nil {
		return err
	}
	set, err := a.evaluateSet(r.Context(), v, slices.Contains(query["include"], "params"))
	if err != nil {
		return err
	}
	w.Header().Set("ETag", set.etag)
	if web.NoneMatch(r, set.etag) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	return web.Respond(w, http.StatusOK, protocol.Bulk{
		Flags:        set.flags,
		Metadata:     protocol.SetMetadata{FlagSetID: v.flagSet(), Version: strconv.FormatUint(v.Version.Seq, 10)},
		EventStreams: a.public.streams(ticketOf(v.Project, v.Key)),
	})
}

// refresh lets the request in again, to the version that there is now.
func (a *API) refresh(w http.ResponseWriter, r *http.Request, v *visit) error {
	again, err := a.enter(w, r)
	if err == nil {
		*v = *again
	}
	return err
}

// heardOf reads the sequence of an event that made a client ask.
func heardOf(etag string) (uint64, bool) {
	seq, err := strconv.ParseUint(strings.TrimPrefix(strings.Trim(etag, `"`), "c"), 10, 64)
	return seq, err == nil
}

// awaitSeq waits until the scope has applied a sequence. Whoever heard of it
// heard of a change that concerns the scope, so the scope will tell.
func awaitSeq(ctx context.Context, scope *follower.Scope, seq uint64) {
	moved := make(chan struct{}, 1)
	defer scope.Watch(func() {
		select {
		case moved <- struct{}{}:
		default:
		}
	})()
	limit := time.NewTimer(applyWithin)
	defer limit.Stop()
	for scope.Current().Seq < seq {
		select {
		case <-moved:
		case <-limit.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// A set is all flags evaluated for one context.
type set struct {
	flags json.RawMessage
	etag  string // quoted
}

// evaluateSet evaluates everything, or finds what it was for the same context
// under the same rules: tabs that wake together ask the same again and again.
func (a *API) evaluateSet(ctx context.Context, v *visit, parameters bool) (*set, error) {
	id, err := v.identity(parameters)
	if err != nil {
		return nil, err
	}
	if s := a.bulks.get(id); s != nil {
		return s, nil
	}
	if err := a.takeRoom(ctx); err != nil {
		return nil, err
	}
	defer func() { <-a.room }()
	list := make([]json.RawMessage, 0, len(v.catalog.list))
	for _, f := range v.catalog.list {
		for _, item := range v.items(f, parameters) {
			raw, err := json.Marshal(item)
			if err != nil {
				return nil, err
			}
			list = append(list, raw)
		}
	}
	all, err := json.Marshal(list)
	if err != nil {
		return nil, err
	}
	digest := sha256.New()
	digest.Write(all)
	digest.Write([]byte(v.flagSet()))
	s := &set{flags: all, etag: `"` + hex.EncodeToString(digest.Sum(nil)[:16]) + `"`}
	a.bulks.put(id, s)
	return s, nil
}

// takeRoom bounds how many sets are evaluated at once; the wait is short, and
// whoever gets none is told to come back.
func (a *API) takeRoom(ctx context.Context) error {
	select {
	case a.room <- struct{}{}:
		return nil
	default:
	}
	limit := time.NewTimer(roomWithin)
	defer limit.Stop()
	select {
	case a.room <- struct{}{}:
		return nil
	case <-limit.C:
	case <-ctx.Done():
	}
	a.metrics.shed.Inc()
	return &web.Error{Code: web.CodeRateLimited, Message: "this edge has more to evaluate than it can", RetryAfter: jittered()}
}

// roomWithin is how long a request waits for room to be evaluated in.
const roomWithin = 500 * time.Millisecond

// items are a flag and, if asked for, its parameters, each under a key of its
// own.
func (v *visit) items(f *flag, parameters bool) []protocol.Evaluation {
	whole, res, found := v.evaluate(f, "", f.key)
	if !found {
		return nil // gone between the state and the rules
	}
	out := []protocol.Evaluation{whole}
	if !parameters || f.kind == flags.KindGate {
		return out
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(res.Value, &members) != nil {
		return out
	}
	for _, name := range slices.SortedFunc(maps.Keys(members), cmp.Compare[string]) {
		key := exact(f, name)
		if name == "" || len(key) > protocol.MaxKey || !v.catalog.means(key, f, name) {
			continue // nobody could ask for it alone
		}
		if e, _, found := v.evaluate(f, name, key); found {
			out = append(out, e)
		}
	}
	return out
}

// identity is everything that a set depends on.
func (v *visit) identity(parameters bool) (bulkID, error) {
	user, err := json.Marshal(v.user)
	if err != nil {
		return bulkID{}, err
	}
	return bulkID{
		scope: v.scope, epoch: v.Version.Epoch, gen: v.Version.Gen, state: v.catalog.state.Seq(), set: v.flagSet(),
		parameters: parameters, user: sha256.Sum256(user),
	}, nil
}
