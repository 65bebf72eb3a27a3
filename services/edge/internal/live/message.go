package live

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/gorilla/websocket"

	"github.com/sluice-flags/sluice/pkg/eval"
	wire "github.com/sluice-flags/sluice/pkg/events/live"
	"github.com/sluice-flags/sluice/services/edge/internal/follower"
)

// A message is one text frame, laid out once for everybody who gets it.
type message struct {
	text     []byte
	prepared *websocket.PreparedMessage
}

func newMessage(text []byte) *message {
	m, err := websocket.NewPreparedMessage(websocket.TextMessage, text)
	if err != nil {
		panic(fmt.Sprintf("preparing a text message: %v", err)) // cannot fail for a data frame
	}
	return &message{text, m}
}

func encode(f wire.Frame) *message {
	text, err := wire.Encode(f)
	if err != nil {
		panic(fmt.Sprintf("encoding our own frame: %v", err)) // our frames hold nothing that cannot be encoded
	}
	return newMessage(text)
}

// A sweep is the work of one core on one version: what differs is found once for
// each version that clients hold, and equal frames are laid out once. It is not
// safe for concurrent use.
type sweep struct {
	scope *follower.Scope
	to    *follower.Version

	differences map[uint64]*difference // by the generation that clients hold
	shared      map[string]*message    // by text

	entries       []wire.Entry
	fresh, before []byte // entries under the new and the old rules
	text          []byte
}

type difference struct {
	follower.Difference
	known bool
	rules *message // rules mode: the frame, made when first wanted
}

func newSweep(scope *follower.Scope, to *follower.Version) *sweep {
	return &sweep{
		scope: scope, to: to,
		differences: make(map[uint64]*difference),
		shared:      make(map[string]*message),
	}
}

// from returns what lies between a version and the one that is swept to.
func (s *sweep) from(v *follower.Version) *difference {
	d, ok := s.differences[v.Gen]
	if !ok {
		d = new(difference)
		d.Difference, d.known = s.scope.Between(v, s.to)
		s.differences[v.Gen] = d
	}
	return d
}

// values returns the frame that takes a user's values from one version to the
// next, or nil when nothing that the client sees has changed. Told is the
// sequence that the client holds.
func (s *sweep) values(d *difference, u *eval.User, o eval.ClientOptions, told uint64, always []eval.Ref) *message {
	s.entries, s.fresh = s.entries[:0], s.fresh[:0]
	for _, ref := range d.Refs {
		s.entry(d, u, o, ref, contains(d.Clock, ref) || contains(always, ref))
	}
	for _, ref := range always {
		if !contains(d.Refs, ref) {
			s.entry(d, u, o, ref, true)
		}
	}
	if len(s.entries) == 0 {
		return nil
	}
	s.text = wire.Change{Prev: told, Seq: s.to.Seq, Time: s.to.Time, Entries: s.entries}.AppendJSON(s.text[:0])
	m, ok := s.shared[string(s.text)]
	if !ok {
		m = newMessage(bytes.Clone(s.text))
		s.shared[string(s.text)] = m
	}
	return m
}

// entry adds an entity to the frame if the client would see it differ.
func (s *sweep) entry(d *difference, u *eval.User, o eval.ClientOptions, ref eval.Ref, always bool) {
	start := len(s.fresh)
	var name, oldName string
	var visible, wasVisible bool
	s.fresh, name, visible = d.To.Rules.AppendClientEntry(s.fresh, u, ref, o)
	s.before, oldName, wasVisible = d.From.Rules.AppendClientEntry(s.before[:0], u, ref, o)
	fresh := s.fresh[start:]
	switch {
	case visible && (always || !wasVisible || !bytes.Equal(fresh, s.before)):
		s.entries = append(s.entries, wire.Entry{Section: ref.Section.String(), Name: name, Value: fresh})
	case !visible && wasVisible:
		s.entries = append(s.entries, wire.Entry{Section: ref.Section.String(), Name: oldName})
	}
}

// contains looks a reference up among few.
func contains(refs []eval.Ref, ref eval.Ref) bool {
	for _, r := range refs {
		if r == ref {
			return true
		}
	}
	return false
}

// specs returns the frame that takes rules from one version to the next: the
// same for everybody, or nil when only time has passed.
func (s *sweep) specs(d *difference) (*message, error) {
	if d.rules != nil || len(d.Set)+len(d.Delete)+len(d.IDLists) == 0 && d.Layers == nil {
		return d.rules, nil
	}
	change, err := rulesChange(d.Difference)
	if err != nil {
		return nil, err
	}
	d.rules = newMessage(change.AppendJSON(nil))
	return d.rules, nil
}

// fullMessage is the newest full frame of a scope in rules mode, made once for
// all who need it.
type fullMessage struct {
	mu      sync.Mutex
	seq     uint64
	gen     uint64
	message *message
}

func (f *fullMessage) of(v *follower.Version, context string) (*message, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.message != nil && f.gen == v.Gen && f.seq == v.Seq {
		return f.message, nil
	}
	body, err := v.V1()
	if err != nil {
		return nil, err
	}
	f.message = encode(wire.Full{
		Position: wire.Position{Epoch: v.Epoch, Seq: v.Seq, Context: context},
		Time:     v.Time, Payload: body.Body(""),
	})
	f.gen, f.seq = v.Gen, v.Seq
	return f.message, nil
}
