// Package pseudonym lets keyed hashes stand in for the ids of units, for projects
// that do not want ids in their warehouse.
//
// One id has one hash in everything that a project stores, whichever process took
// it in, or exposures and events would not join. So the key is made once, by the
// first who needs it, and kept on the bus, where all who take facts find it, and
// nobody else: it is in no definition, no answer, and not in the warehouse.
package pseudonym

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-flags/sluice/internal/bus"
)

// A Key is a project's secret.
type Key [sha256.Size]byte

// Hash returns what stands in for an id: 22 characters, 128 bits of an HMAC. The
// type of the unit is not part of it, so that what was equal stays so. No id stays
// none.
func (k Key) Hash(id string) string {
	if id == "" {
		return ""
	}
	mac := hmac.New(sha256.New, k[:])
	mac.Write([]byte(id))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}

// Keys finds the keys of projects. It is safe for concurrent use.
type Keys struct {
	conn *bus.Conn

	mu   sync.Mutex
	keys map[string]Key
}

// NewKeys returns the keys that are on a bus.
func NewKeys(conn *bus.Conn) *Keys { return &Keys{conn: conn, keys: make(map[string]Key)} }

// Of returns a project's key, and makes it if nobody has. Keys never change, so it
// asks once for each project.
func (k *Keys) Of(ctx context.Context, project string) (Key, error) {
	k.mu.Lock()
	key, ok := k.keys[project]
	k.mu.Unlock()
	if ok {
		return key, nil
	}
	key, err := k.find(ctx, project)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		// Of two who offer one at once, the stream takes one, and both find it.
		refused := k.offer(ctx, project)
		if key, err = k.find(ctx, project); err != nil {
			err = errors.Join(refused, err)
		}
	}
	if err != nil {
		return Key{}, fmt.Errorf("finding the key for unit ids of project %s: %w", project, err)
	}
	k.mu.Lock()
	k.keys[project] = key
	k.mu.Unlock()
	return key, nil
}

// find reads the project's first key; should there ever be a second, it does not
// count.
func (k *Keys) find(ctx context.Context, project string) (key Key, err error) {
	m, err := k.conn.Next(ctx, bus.FactKeysStream, bus.FactKeySubject(project), 1)
	if err != nil {
		return key, err
	}
	if len(m.Data) != len(key) {
		return key, fmt.Errorf("message %d of stream %s holds no key", m.Seq, bus.FactKeysStream)
	}
	return Key(m.Data), nil
}

// offer stores a new key, unless there is one.
func (k *Keys) offer(ctx context.Context, project string) error {
	var key Key
	if _, err := rand.Read(key[:]); err != nil {
		return err
	}
	_, err := k.conn.JetStream().PublishMsg(ctx, &nats.Msg{Subject: bus.FactKeySubject(project), Data: key[:]}, jetstream.WithExpectLastSequencePerSubject(0))
	return err
}
