package events

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
)

// MaxMessage is the size in bytes that an encoded envelope may have. With the
// headers that a stream wants it stays below 512 KiB.
const MaxMessage = 500 << 10

// Encode returns the message that is stored for e.
//
// The message is one JSON object: the members in the order of [Envelope]'s
// fields, no space between tokens, strings escaped as little as JSON allows
// (and U+2028, U+2029), absent optional members left out, and "hash" last.
//
// The hash covers those bytes themselves. Take the message, cut the last
// member off (`,"hash":"…"`, 74 bytes, and then the closing brace), put the
// brace back: SHA-256 of that is the hash. As "prev" is among what is hashed,
// each hash seals the whole history before it. Nothing has to be parsed or
// put in order to check a chain, in any language.
func (e Envelope) Encode() ([]byte, error) {
	body, err := e.sealed()
	if err != nil {
		return nil, err
	}
	return appendHash(body, e.Hash), nil
}

const hashMember = `,"hash":"`

// appendHash turns sealed bytes into a message.
func appendHash(body []byte, h Hash) []byte {
	body = append(body[:len(body)-1], hashMember...)
	body = append(body, h.String()...)
	return append(body, `"}`...)
}

// sealed returns the bytes that the hash of e covers.
func (e Envelope) sealed() ([]byte, error) {
	type unsealed Envelope // without methods, and the outer Hash hides the inner one
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	err := enc.Encode(struct {
		unsealed
		Hash *Hash `json:"hash,omitempty"`
	}{unsealed: unsealed(e)})
	if err != nil {
		return nil, fmt.Errorf("encoding envelope %d: %w", e.Seq, err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// hashed returns the hash that e should have.
func (e Envelope) hashed() (Hash, error) {
	body, err := e.sealed()
	if err != nil {
		return Hash{}, err
	}
	return sha256.Sum256(body), nil
}

// Decode reads the message at position seq of a log.
//
// It accepts exactly what [Envelope.Encode] writes. A schema that is newer than
// [Schema] is [ErrSchema]: an old reader stops there, it does not guess. All
// else — a member too many, another spelling of the same JSON, a changed byte,
// a message at the wrong position — is [ErrCorrupt].
func Decode(seq uint64, message []byte) (Envelope, error) {
	e, err := decode(seq, message)
	if err != nil {
		return Envelope{}, fmt.Errorf("message %d: %w", seq, err)
	}
	return e, nil
}

func decode(seq uint64, message []byte) (Envelope, error) {
	if len(message) > MaxMessage {
		return Envelope{}, fmt.Errorf("%w: %d bytes, at most %d", ErrCorrupt, len(message), MaxMessage)
	}
	var e Envelope
	if err := json.Unmarshal(message, &e); err != nil {
		// Another schema may have another shape: look at the number alone.
		var only struct{ Schema int }
		if json.Unmarshal(message, &only) == nil && only.Schema > Schema {
			return Envelope{}, fmt.Errorf("%w %d", ErrSchema, only.Schema)
		}
		return Envelope{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if e.Schema > Schema {
		return Envelope{}, fmt.Errorf("%w %d", ErrSchema, e.Schema)
	}
	if err := e.check(); err != nil {
		return Envelope{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if e.Seq != seq {
		return Envelope{}, fmt.Errorf("%w: it says that it is %d", ErrCorrupt, e.Seq)
	}
	// Writing it again shows whatever a lenient JSON parser forgave, and gives
	// the bytes to hash.
	body, err := e.sealed()
	if err != nil {
		return Envelope{}, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if got := Hash(sha256.Sum256(body)); got != e.Hash {
		return Envelope{}, fmt.Errorf("%w: hash is %s, should be %s", ErrCorrupt, e.Hash, got)
	}
	if !bytes.Equal(appendHash(body, e.Hash), message) {
		return Envelope{}, fmt.Errorf("%w: not in canonical form", ErrCorrupt)
	}
	return e, nil
}

// check finds what no writer of ours puts into an envelope.
func (e Envelope) check() error {
	switch {
	case e.Schema < 1:
		return fmt.Errorf("schema %d", e.Schema)
	case e.LogID == "":
		return fmt.Errorf("no log id")
	case e.Seq == 0:
		return fmt.Errorf("no sequence")
	case e.Time <= 0:
		return fmt.Errorf("time %d", e.Time)
	case e.CommandID == "":
		return fmt.Errorf("no command id")
	case e.Commit.ID == "" || e.Commit.Index < 0 || e.Commit.Index >= e.Commit.Count:
		return fmt.Errorf("commit %+v", e.Commit)
	case e.Kind == "" || e.Entity == "":
		return fmt.Errorf("no entity")
	case e.EntityVersion == 0:
		return fmt.Errorf("no entity version")
	case e.Created <= 0 || e.Created > e.Time:
		return fmt.Errorf("created %d", e.Created)
	case e.Document != nil && e.Document[0] != '{':
		return fmt.Errorf("document is not an object")
	case e.Deleted() != (e.Name != ""):
		return fmt.Errorf("a tombstone has the name that it retires, nothing else has one: %q", e.Name)
	}
	return nil
}
