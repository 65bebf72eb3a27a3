package api

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/sluice-flags/sluice/internal/web"
	"github.com/sluice-flags/sluice/pkg/events"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// readOnly names what the log knows about an entity beside its document, and the
// members of writes' answers. A document that is sent back may have them, and
// they are passed over.
var readOnly = []string{"version", "sequence", "createdAt", "updatedAt", "noop", "warnings", "stats"}

// timestamp is how times are written: UTC with milliseconds.
func timestamp(ms int64) string {
	return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")
}

// represent is an entity as people read it: its document, and where it stands.
// Extra members may follow.
func represent(e flags.Entity, extra ...member) (json.RawMessage, error) {
	raw, err := encode(e.Doc)
	if err != nil {
		return nil, err
	}
	members := []member{
		{"version", e.Version}, {"sequence", e.Seq},
		{"createdAt", timestamp(e.Created)}, {"updatedAt", timestamp(e.Time)},
	}
	return extend(raw, append(members, extra...))
}

// encode is a document as people read it: a key without its hash, which proves
// nothing to a reader, and is nobody's business.
func encode(doc flags.Document) (json.RawMessage, error) {
	k, ok := doc.(*flags.Key)
	if !ok {
		return flags.Encode(doc)
	}
	shown := *k
	shown.Hash = ""
	raw, err := flags.Encode(&shown)
	return bytes.Replace(raw, []byte(`,"hash":""`), nil, 1), err
}

// member is one name and value of a JSON object.
type member struct {
	name  string
	value any
}

// extend appends members to a JSON object that has some.
func extend(object json.RawMessage, members []member) (json.RawMessage, error) {
	var b bytes.Buffer
	b.Write(bytes.TrimSuffix(object, []byte("}")))
	for _, m := range members {
		value, err := json.Marshal(m.value)
		if err != nil {
			return nil, err
		}
		b.WriteString(`,"` + m.name + `":`)
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// entityOf is the entity that an envelope made.
func entityOf(e events.Envelope) (flags.Entity, error) {
	entity := flags.Entity{
		Ref: e.Ref(), Name: e.Name, Version: e.EntityVersion, Seq: e.Seq, Time: e.Time, Created: e.Created, Deleted: e.Deleted(),
	}
	if entity.Deleted {
		return entity, nil
	}
	doc, err := flags.Load(e.Kind, e.Document)
	if err != nil {
		return flags.Entity{}, err
	}
	entity.Doc, entity.Raw, entity.Name = doc, e.Document, doc.DocName()
	return entity, nil
}

// at names the state that an answer was read from.
func (c *call) at(s *flags.State) { c.sequence(s.Seq()) }

func (c *call) sequence(seq uint64) {
	c.w.Header().Set("Log-Sequence", strconv.FormatUint(seq, 10))
}

// respond answers with one version of an entity.
func (c *call) respond(status int, e flags.Entity, extra ...member) error {
	body, err := represent(e, extra...)
	if err != nil {
		return err
	}
	c.w.Header().Set("ETag", etag(e.Seq))
	return web.Respond(c.w, status, body)
}

// gone answers that an entity is no more.
func (c *call) gone(e flags.Entity) error {
	return web.Respond(c.w, http.StatusOK, map[string]any{
		"id": e.Ref.ID, "name": e.Name, "deleted": true, "version": e.Version, "sequence": e.Seq, "updatedAt": timestamp(e.Time),
	})
}
