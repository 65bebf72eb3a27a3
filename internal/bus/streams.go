package bus

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-flags/sluice/pkg/events"
)

// Limits are the parts of a stream's configuration that an operator chooses.
// The zero value suits one server with a few gigabytes of disk.
type Limits struct {
	Replicas       int   // 1, 3 or 5; default 1
	FlagsBytes     int64 // per project; default 256 MiB, some hundred thousand changes
	FactsBytes     int64 // default 2 GiB
	DeadFactsBytes int64 // default 256 MiB
	PlansBytes     int64 // default 64 MiB, half a million plans: two a second for three days
	// FactsWindow is for how long a fact that is sent again is recognised by those
	// that accept facts, and a message by the server: default 10 minutes.
	FactsWindow time.Duration
}

func (l Limits) withDefaults() Limits {
	return Limits{
		Replicas:       cmp.Or(l.Replicas, 1),
		FlagsBytes:     cmp.Or(l.FlagsBytes, 256<<20),
		FactsBytes:     cmp.Or(l.FactsBytes, 2<<30),
		DeadFactsBytes: cmp.Or(l.DeadFactsBytes, 256<<20),
		PlansBytes:     cmp.Or(l.PlansBytes, 64<<20),
		FactsWindow:    cmp.Or(l.FactsWindow, factsDedupe),
	}
}

const (
	headsBytes   = 16 << 20
	loadersBytes = 1 << 20
	keysBytes    = 16 << 20
	claimsBytes  = 64 << 20 // about half a million of them

	// logIDKey is where a stream's metadata has the id of the log in it.
	logIDKey = "sluice_log_id"

	maxFlagsMessage = 512 << 10 // an envelope and its headers
	maxFactsMessage = 1 << 20
	flagsDedupe     = 2 * time.Minute
	factsDedupe     = 10 * time.Minute
	claimsAge       = time.Hour + 5*time.Minute // a claim is for an hour, by clocks that may differ
	factsAge        = 72 * time.Hour            // a loss of the warehouse must be replayable
)

// FlagsConfig is the stream of a project's definitions: it forgets nothing and
// refuses, when full, what is new.
func FlagsConfig(project, logID string, l Limits) jetstream.StreamConfig {
	l = l.withDefaults()
	c := base(FlagsStream(project), FlagsSubjects(project), l.FlagsBytes, l.Replicas)
	c.Description = "definitions of project " + project
	c.MaxMsgSize = maxFlagsMessage
	c.Duplicates = flagsDedupe
	c.DenyDelete, c.DenyPurge = true, true
	c.AllowAtomicPublish = true
	c.Metadata = map[string]string{logIDKey: logID}
	return c
}

// HeadsConfig is the stream of recorded heads: the last one of each project.
func HeadsConfig(l Limits) jetstream.StreamConfig {
	l = l.withDefaults()
	c := base(HeadsStream, HeadSubject("*"), headsBytes, l.Replicas)
	c.Description = "last recorded head of each project's log"
	c.MaxMsgsPerSubject = 1
	c.Duplicates = flagsDedupe
	return c
}

// FactsConfig is the stream of facts on their way to the warehouse.
func FactsConfig(l Limits) jetstream.StreamConfig {
	l = l.withDefaults()
	c := base(FactsStream, "facts.>", l.FactsBytes, l.Replicas)
	c.Description = "exposures and events on their way to the warehouse"
	c.MaxMsgSize = maxFactsMessage
	c.Duplicates = l.FactsWindow
	c.MaxAge = factsAge
	return c
}

// DeadFactsConfig is the stream of facts that could not be loaded. They stay
// until an operator looks.
func DeadFactsConfig(l Limits) jetstream.StreamConfig {
	l = l.withDefaults()
	c := base(DeadFactsStream, "facts_dead.>", l.DeadFactsBytes, l.Replicas)
	c.Description = "facts that could not be loaded"
	c.Duplicates = factsDedupe
	return c
}

// PlansConfig is the stream of plans: which facts were loaded together. It
// remembers them for as long as the facts are there, so that a warehouse that
// lost its last days is filled again in the very same batches.
func PlansConfig(l Limits) jetstream.StreamConfig {
	l = l.withDefaults()
	c := base(PlansStream, "facts_plans.>", l.PlansBytes, l.Replicas)
	c.Description = "which facts were loaded together"
	c.Duplicates = flagsDedupe
	c.MaxAge = factsAge + time.Hour // never before the facts themselves
	return c
}

// FactKeysConfig is the stream of secrets by which projects hash ids of units: one
// message of each project that wants that, which nothing replaces or removes.
func FactKeysConfig(l Limits) jetstream.StreamConfig {
	l = l.withDefaults()
	c := base(FactKeysStream, FactKeySubject("*"), keysBytes, l.Replicas)
	c.Description = "the secret by which each project hashes ids of units"
	c.Duplicates = flagsDedupe
	c.DenyDelete, c.DenyPurge = true, true
	return c
}

// LoadersConfig is the stream of leases: the last word of each process that
// loads facts, and of each partition's holder, until it is not renewed. It is in
// memory: who loads what now is nothing to remember.
func LoadersConfig(l Limits) jetstream.StreamConfig {
	l = l.withDefaults()
	c := base(LoadersStream, "facts_loaders.>", loadersBytes, l.Replicas)
	c.Description = "who loads which partition of facts just now"
	c.Storage = jetstream.MemoryStorage
	c.Duplicates = flagsDedupe
	c.MaxMsgsPerSubject = 1
	c.AllowMsgTTL = true
	return c
}

// ClaimsConfig is the stream of claims: which edge records a decision that the
// fleet records once an hour. It is in memory, and says no when it is full: a
// decision whose claim is lost, or was never made, may be recorded once more.
func ClaimsConfig(l Limits) jetstream.StreamConfig {
	l = l.withDefaults()
	c := base(ClaimsStream, ClaimSubject("*"), claimsBytes, l.Replicas)
	c.Description = "which decisions edges have recorded in this hour"
	c.Storage = jetstream.MemoryStorage
	c.Duplicates = flagsDedupe
	c.MaxMsgsPerSubject = 1
	c.MaxAge = claimsAge
	return c
}

func base(name, subjects string, bytes int64, replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              name,
		Subjects:          []string{subjects},
		Storage:           jetstream.FileStorage,
		Retention:         jetstream.LimitsPolicy,
		Discard:           jetstream.DiscardNew,
		MaxBytes:          bytes,
		MaxMsgs:           -1,
		MaxMsgsPerSubject: -1,
		MaxConsumers:      -1,
		MaxMsgSize:        -1,
		Replicas:          replicas,
		AllowDirect:       true,
		PersistMode:       jetstream.DefaultPersistMode, // async would undo sync always
	}
}

// A SettingsError lists how a stream differs from what our promises need. Who
// gets it may read the stream but must not write to it.
type SettingsError struct {
	Stream string
	Wrong  []Setting
}

// A Setting is one difference.
type Setting struct{ Name, Got, Want string }

func (e *SettingsError) Error() string {
	parts := make([]string, len(e.Wrong))
	for i, s := range e.Wrong {
		parts[i] = fmt.Sprintf("%s is %s, must be %s", s.Name, s.Got, s.Want)
	}
	return fmt.Sprintf("stream %s has the wrong settings, so nothing is written to it: %s", e.Stream, strings.Join(parts, "; "))
}

// CheckSettings compares a stream's configuration with the one that it should
// have, and returns a [*SettingsError] or nil. Sizes and replicas are the
// operator's; a limit on bytes has to be there, though, and well below the disk.
//
// One setting cannot be seen from a client: that the server syncs always. The
// embedded server does; for others it is part of how they are set up.
func CheckSettings(got, want jetstream.StreamConfig) error {
	var wrong []Setting
	check := func(name string, g, w any) {
		if g != w {
			wrong = append(wrong, Setting{name, fmt.Sprint(g), fmt.Sprint(w)})
		}
	}
	check("storage", got.Storage, want.Storage)
	check("retention", got.Retention, want.Retention)
	check("discard", got.Discard, want.Discard)
	check("subjects", strings.Join(got.Subjects, ","), strings.Join(want.Subjects, ","))
	check("max_age", got.MaxAge, want.MaxAge)
	check("max_msgs", got.MaxMsgs, want.MaxMsgs)
	check("max_msgs_per_subject", got.MaxMsgsPerSubject, want.MaxMsgsPerSubject)
	check("max_msg_size", got.MaxMsgSize, want.MaxMsgSize)
	check("duplicate_window", got.Duplicates, want.Duplicates)
	check("deny_delete", got.DenyDelete, want.DenyDelete)
	check("deny_purge", got.DenyPurge, want.DenyPurge)
	check("allow_rollup_hdrs", got.AllowRollup, want.AllowRollup)
	check("allow_direct", got.AllowDirect, want.AllowDirect)
	check("allow_atomic", got.AllowAtomicPublish, want.AllowAtomicPublish)
	check("allow_msg_ttl", got.AllowMsgTTL, want.AllowMsgTTL)
	check("allow_msg_counter", got.AllowMsgCounter, want.AllowMsgCounter)
	check("allow_msg_schedules", got.AllowMsgSchedules, want.AllowMsgSchedules)
	check("persist_mode", got.PersistMode, want.PersistMode)
	check("no_ack", got.NoAck, want.NoAck)
	check("sealed", got.Sealed, want.Sealed)
	check("first_seq", max(got.FirstSeq, 1), max(want.FirstSeq, 1))
	check("subject_transform", got.SubjectTransform != nil, false)
	check("mirror", got.Mirror != nil, false)
	check("sources", len(got.Sources), 0)
	if got.MaxBytes <= 0 {
		wrong = append(wrong, Setting{"max_bytes", fmt.Sprint(got.MaxBytes), "a limit well below the disk"})
	}
	if wrong == nil {
		return nil
	}
	return &SettingsError{Stream: got.Name, Wrong: wrong}
}

// ErrUnknownProject reports a project without a stream.
var ErrUnknownProject = errors.New("unknown project")

// EnsureShared makes the streams that all projects share and cannot do without,
// unless they are there, and checks the settings of those that are.
func EnsureShared(ctx context.Context, c *Conn, l Limits) error {
	for _, want := range []jetstream.StreamConfig{HeadsConfig(l), FactsConfig(l), DeadFactsConfig(l), PlansConfig(l), LoadersConfig(l), FactKeysConfig(l)} {
		if _, err := ensure(ctx, c, want); err != nil {
			return err
		}
	}
	return nil
}

// EnsureLoaders makes [LoadersStream] anew: being in memory, it goes with the
// server that had it.
func EnsureLoaders(ctx context.Context, c *Conn, l Limits) error {
	_, err := ensure(ctx, c, LoadersConfig(l))
	return err
}

// EnsureClaims does the same for [ClaimsStream], without which nothing is lost: who
// fails to make it says so, and goes on.
func EnsureClaims(ctx context.Context, c *Conn, l Limits) error {
	_, err := ensure(ctx, c, ClaimsConfig(l))
	return err
}

// EnsureProject makes a project's stream, unless it is there, and returns the
// id of the log in it. Of two that try at once, both get the same log.
//
// It fails with [events.ErrDiverged] if the stream is gone although a head of it
// is on record: making an empty one in its place would hide the loss.
func EnsureProject(ctx context.Context, c *Conn, project string, l Limits) (logID string, err error) {
	if !ValidProject(project) {
		return "", fmt.Errorf("%q cannot be the id of a project", project)
	}
	if info, err := FlagsInfo(ctx, c, project); err == nil {
		return LogID(info)
	} else if !errors.Is(err, ErrUnknownProject) {
		return "", err
	}
	if _, err := ensure(ctx, c, HeadsConfig(l)); err != nil {
		return "", err
	}
	head, known, err := RecordedHead(ctx, c, project)
	switch {
	case err != nil:
		return "", err
	case known:
		return "", fmt.Errorf("%w: stream %s is gone, but its head is on record at %s", events.ErrDiverged, FlagsStream(project), head)
	}
	info, err := ensure(ctx, c, FlagsConfig(project, newLogID(), l))
	if err != nil {
		return "", err
	}
	return LogID(info)
}

// newLogID is 128 random bits.
func newLogID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}

// ensure makes a stream or, if there is one, checks it.
func ensure(ctx context.Context, c *Conn, want jetstream.StreamConfig) (*jetstream.StreamInfo, error) {
	s, err := c.js.Stream(ctx, want.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		s, err = c.js.CreateStream(ctx, want)
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) { // somebody else was first
			s, err = c.js.Stream(ctx, want.Name)
		}
	}
	if refused, ok := errors.AsType[*jetstream.APIError](err); ok {
		switch refused.ErrorCode {
		case codeNoStorage:
			return nil, fmt.Errorf("%w: stream %s asks for %d MiB of disk: make room, or give NATS a larger disk", ErrNoRoom, want.Name, want.MaxBytes>>20)
		case codeNoMemory:
			return nil, fmt.Errorf("%w: stream %s asks for %d MiB of memory: raise max_memory_store of NATS", ErrNoRoom, want.Name, want.MaxBytes>>20)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", want.Name, err)
	}
	info := s.CachedInfo()
	return info, CheckSettings(info.Config, want)
}

// FlagsInfo reads the state and settings of a project's stream from its leader,
// or returns [ErrUnknownProject].
func FlagsInfo(ctx context.Context, c *Conn, project string) (*jetstream.StreamInfo, error) {
	if !ValidProject(project) {
		return nil, fmt.Errorf("%w: %q cannot be an id", ErrUnknownProject, project)
	}
	s, err := c.js.Stream(ctx, FlagsStream(project))
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return nil, fmt.Errorf("%w: %s", ErrUnknownProject, project)
	case err != nil:
		return nil, fmt.Errorf("stream %s: %w", FlagsStream(project), err)
	}
	return s.CachedInfo(), nil
}

// LogID is the id of the log in a project's stream.
func LogID(info *jetstream.StreamInfo) (string, error) {
	if id := info.Config.Metadata[logIDKey]; id != "" {
		return id, nil
	}
	return "", fmt.Errorf("stream %s carries no log id: it was not made by EnsureProject", info.Config.Name)
}

// CheckFlags checks the settings of a project's stream: nil or a [*SettingsError].
func CheckFlags(info *jetstream.StreamInfo, project string) error {
	return CheckSettings(info.Config, FlagsConfig(project, "", Limits{}))
}

// Projects lists the projects that have a stream, by id, [OrgProject] left out.
func Projects(ctx context.Context, c *Conn) ([]string, error) {
	names := c.js.StreamNames(ctx)
	var out []string
	for name := range names.Name() {
		if project, ok := ProjectOf(name); ok && project != OrgProject {
			out = append(out, project)
		}
	}
	if err := names.Err(); err != nil {
		return nil, fmt.Errorf("listing projects: %w", err)
	}
	slices.Sort(out)
	return out, nil
}

// RecordHead puts a head on record in [HeadsStream].
func RecordHead(ctx context.Context, c *Conn, project string, h events.Head) error {
	body, err := json.Marshal(h)
	if err != nil {
		return err
	}
	if _, err := c.js.Publish(ctx, HeadSubject(project), body); err != nil {
		return fmt.Errorf("recording head %s of project %s: %w", h, project, err)
	}
	return nil
}

// RecordedHead is the head on record in [HeadsStream]; ok is false if there is
// none.
func RecordedHead(ctx context.Context, c *Conn, project string) (h events.Head, ok bool, err error) {
	msg, err := c.Last(ctx, HeadsStream, HeadSubject(project))
	switch {
	case errors.Is(err, jetstream.ErrMsgNotFound), errors.Is(err, jetstream.ErrStreamNotFound):
		return events.Head{}, false, nil
	case err != nil:
		return events.Head{}, false, fmt.Errorf("recorded head of project %s: %w", project, err)
	}
	if err := json.Unmarshal(msg.Data, &h); err != nil {
		return events.Head{}, false, fmt.Errorf("recorded head of project %s: %w", project, err)
	}
	return h, true, nil
}
