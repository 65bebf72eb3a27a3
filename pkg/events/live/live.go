// Package live is the vocabulary of Sluice's live protocol: the frames that a
// client and an edge exchange over one WebSocket (or one event stream), and the
// codes with which either side ends it.
//
// The promise to a client is small. It says who it is and what it holds; it is
// told first whether that is still true ([IntentNone]), a few changes behind
// ([IntentChanges]) or unusable ([IntentFull]); and from then on every frame
// names the state it builds on, so a client that applied every frame holds
// exactly what the edge holds, and a client that missed one notices.
//
// A position is an epoch, a sequence and a context. The epoch is the identity of
// the project's log, the sequence a place in it, and the context a digest of
// everything else that the values depend on (the user, the key's scope, the
// hash mode). Positions compare only when epoch and context are equal; a client
// keeps the three together and offers them when it comes back.
//
// Two modes share the frames. In [ModeValues] the entries are evaluated for one
// user, in the shape of an initialize response; in [ModeRules] they are the
// specs themselves. Client keys only ever get values.
//
// The package is pure and imports nothing of ours: SDKs use it as it is.
package live

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Protocol is the version that this package speaks. A hello with another one is
// refused with [CloseUpgrade].
const Protocol = 1

// Path is where an edge serves the protocol.
const Path = "/v1/live"

// MaxClientFrame is the longest frame that an edge reads, in bytes.
const MaxClientFrame = 64 << 10

// A Mode says what the entries of a connection are.
type Mode string

// The modes.
const (
	ModeValues Mode = "values" // evaluated for one user; every key may ask for it
	ModeRules  Mode = "rules"  // specs; server keys only
)

// An Intent is the edge's verdict on the position that a client offered.
type Intent string

// The intents.
const (
	IntentNone    Intent = "none"    // what you hold is current: nothing follows
	IntentChanges Intent = "changes" // one change frame follows and makes you current
	IntentFull    Intent = "full"    // a full frame follows: replace what you hold
)

// The sections of a payload, named as in an initialize response.
const (
	SectionGates   = "feature_gates"
	SectionConfigs = "dynamic_configs"
	SectionLayers  = "layer_configs"
)

// Sections lists the sections in the order in which frames carry them.
var Sections = [...]string{SectionGates, SectionConfigs, SectionLayers}

// A Frame is one message of the protocol.
type Frame interface {
	// Type is the value of the frame's "type" member.
	Type() string
}

// Hello opens a connection; it is the first frame of the client and due within
// five seconds.
type Hello struct {
	Protocol  int             `json:"protocol"`
	Key       string          `json:"key,omitempty"`       // unless the handshake carried it in a header
	Mode      Mode            `json:"mode,omitempty"`      // default: rules for server keys, values for client keys
	User      json.RawMessage `json:"user,omitempty"`      // values mode: whom to evaluate for
	Hash      string          `json:"hash,omitempty"`      // values mode: none (default), djb2, sha256
	TargetApp string          `json:"targetApp,omitempty"` // values mode: one of the key's target apps
	Position                  // what the client still holds from before, if anything
}

// A Position says which state a client holds; an empty epoch says none. As a
// frame of its own, a client sends it when a change did not fit what it holds.
// The edge answers with an [Answer], then what that announces.
type Position struct {
	Epoch   string `json:"epoch,omitempty"`
	Seq     uint64 `json:"seq,omitempty"`
	Context string `json:"context,omitempty"`
}

// User replaces the user of a values-mode connection. The answer is an
// [Answer], then what it announces.
type User struct {
	User json.RawMessage `json:"user"`
}

// An Answer follows every frame of the client and says what comes next.
type Answer struct {
	Intent Intent `json:"intent"`
	Position
	Stale bool `json:"stale,omitempty"` // the edge itself is cut off from the log
}

// Full replaces everything the client holds.
type Full struct {
	Position
	Time    int64           `json:"time"`
	Payload json.RawMessage `json:"payload"` // initialize response body, or v1 spec download
}

// AppendJSON appends the frame's text to dst, the payload as it is.
func (f Full) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"type":"full","epoch":`...)
	dst = appendString(dst, f.Epoch)
	dst = append(dst, `,"seq":`...)
	dst = strconv.AppendUint(dst, f.Seq, 10)
	dst = append(dst, `,"context":`...)
	dst = appendString(dst, f.Context)
	dst = append(dst, `,"time":`...)
	dst = strconv.AppendInt(dst, f.Time, 10)
	dst = append(dst, `,"payload":`...)
	dst = append(dst, f.Payload...)
	return append(dst, '}')
}

// Ping says that the client has been sent everything that concerns it up to
// Seq. The client's position moves there.
type Ping struct {
	Seq   uint64 `json:"seq"`
	Stale bool   `json:"stale,omitempty"`
}

// Goodbye announces that the edge is about to close the connection, and when
// the client should come back.
type Goodbye struct {
	RetryMs int64  `json:"retryMs"`
	Reason  string `json:"reason,omitempty"`
}

// Closed is the last frame of an event stream, which has no close codes of its
// own. On a WebSocket the code is in the close frame.
type Closed struct {
	Code   CloseCode `json:"code"`
	Reason string    `json:"reason,omitempty"`
}

// Type implements [Frame].
func (Hello) Type() string { return "hello" }

// Type implements [Frame].
func (User) Type() string { return "user" }

// Type implements [Frame].
func (Position) Type() string { return "position" }

// Type implements [Frame].
func (Answer) Type() string { return "intent" }

// Type implements [Frame].
func (Full) Type() string { return "full" }

// Type implements [Frame].
func (Change) Type() string { return "change" }

// Type implements [Frame].
func (Ping) Type() string { return "ping" }

// Type implements [Frame].
func (Goodbye) Type() string { return "goodbye" }

// Type implements [Frame].
func (Closed) Type() string { return "closed" }

// ErrUnknownFrame reports a frame whose type this version does not know. A
// client ignores such a frame; an edge closes with [CloseBadFrame].
var ErrUnknownFrame = errors.New("unknown frame type")

// Encode returns f as the text of one message.
func Encode(f Frame) ([]byte, error) {
	if a, ok := f.(interface{ AppendJSON([]byte) []byte }); ok {
		return a.AppendJSON(nil), nil
	}
	body, err := json.Marshal(f)
	if err != nil {
		return nil, fmt.Errorf("encoding %s frame: %w", f.Type(), err)
	}
	return spliceType(f.Type(), body), nil
}

// spliceType puts the type member in front of the object's own members.
func spliceType(typ string, object []byte) []byte {
	out := make([]byte, 0, len(object)+len(typ)+12)
	out = append(out, `{"type":"`...)
	out = append(out, typ...)
	out = append(out, '"')
	if rest := bytes.TrimSpace(object)[1:]; rest[0] != '}' {
		out = append(append(out, ','), rest...)
	} else {
		out = append(out, '}')
	}
	return out
}

// DecodeClient reads a frame that a client sent: [Hello], [User] or [Position].
// Unknown members are ignored, so that newer clients may say more.
func DecodeClient(text []byte) (Frame, error) {
	typ, err := frameType(text)
	if err != nil {
		return nil, err
	}
	switch typ {
	case Hello{}.Type():
		return decode[Hello](text, Hello.check)
	case User{}.Type():
		return decode[User](text, User.check)
	case Position{}.Type():
		return decode[Position](text, Position.check)
	}
	return nil, fmt.Errorf("%w %q", ErrUnknownFrame, typ)
}

// DecodeServer reads a frame that an edge sent: [Answer], [Full], [Change],
// [Ping], [Goodbye] or [Closed].
func DecodeServer(text []byte) (Frame, error) {
	typ, err := frameType(text)
	if err != nil {
		return nil, err
	}
	switch typ {
	case Answer{}.Type():
		return decode[Answer](text, Answer.check)
	case Full{}.Type():
		return decode[Full](text, Full.check)
	case Change{}.Type():
		return decode[Change](text, Change.check)
	case Ping{}.Type():
		return decode[Ping](text, nil)
	case Goodbye{}.Type():
		return decode[Goodbye](text, nil)
	case Closed{}.Type():
		return decode[Closed](text, nil)
	}
	return nil, fmt.Errorf("%w %q", ErrUnknownFrame, typ)
}

func frameType(text []byte) (string, error) {
	if !utf8.Valid(text) {
		return "", errors.New("frame is not valid UTF-8")
	}
	var head struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return "", fmt.Errorf("frame is not a JSON object: %w", err)
	}
	if head.Type == "" {
		return "", errors.New(`frame has no "type"`)
	}
	return head.Type, nil
}

func decode[F Frame](text []byte, check func(F) error) (Frame, error) {
	var f F
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, fmt.Errorf("reading %s frame: %w", f.Type(), err)
	}
	if check != nil {
		if err := check(f); err != nil {
			return nil, fmt.Errorf("%s frame: %w", f.Type(), err)
		}
	}
	return f, nil
}

func (h Hello) check() error {
	switch h.Mode {
	case "", ModeValues, ModeRules:
	default:
		return fmt.Errorf("mode is %q; want values or rules", h.Mode)
	}
	switch h.Hash {
	case "", "none", "djb2", "sha256":
	default:
		return fmt.Errorf("hash is %q; want none, djb2 or sha256", h.Hash)
	}
	if h.Protocol <= 0 {
		return errors.New("protocol is missing")
	}
	return checkUser(h.User, false)
}

func (u User) check() error { return checkUser(u.User, true) }

func (p Position) check() error {
	if p.Epoch == "" {
		return errors.New("epoch is missing")
	}
	return nil
}

func (a Answer) check() error {
	switch a.Intent {
	case IntentNone, IntentChanges, IntentFull:
		return nil
	}
	return fmt.Errorf("intent is %q; want none, changes or full", a.Intent)
}

func (f Full) check() error {
	if !isObject(f.Payload) {
		return errors.New("payload is not an object")
	}
	return nil
}

func checkUser(user json.RawMessage, need bool) error {
	if len(user) == 0 && !need {
		return nil
	}
	if !isObject(user) {
		return errors.New("user is not an object")
	}
	return nil
}

func isObject(raw json.RawMessage) bool {
	trimmed := bytes.TrimLeft(raw, " \t\r\n")
	return len(trimmed) > 0 && trimmed[0] == '{'
}
