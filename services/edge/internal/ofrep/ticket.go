package ofrep

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"slices"

	"github.com/sluice-flags/sluice/pkg/flags"
)

// A ticket lets its holder hear that something changed, and nothing else. Event
// streams carry it in their address, where the key itself must not stand.
//
// It names project and key, and proves that whoever handed it out knew the
// key's hash: the secret is what the project's log holds, which every edge that
// serves the project has, today and after a restart, and which no answer shows.
// (Who holds the key could make the ticket too, and was given it anyway.) It has
// no end of its own, since clients keep it with their values for weeks, and is
// the same for a key as long as that is for the same environments.

const ticketContext = "sluice: OFREP event stream, 1"

// ticketOf makes the ticket of a key.
func ticketOf(project string, key *flags.Key) string {
	text := slices.Concat([]byte(project), []byte{0}, []byte(key.ID), []byte{0}, proof(project, key))
	return base64.RawURLEncoding.EncodeToString(text)
}

func proof(project string, key *flags.Key) []byte {
	mac := hmac.New(sha256.New, []byte(key.Hash))
	parts := append([]string{ticketContext, project, key.ID}, slices.Sorted(slices.Values(key.Environments))...)
	for _, part := range parts {
		mac.Write([]byte(part))
		mac.Write([]byte{0})
	}
	return mac.Sum(nil)
}

// A claim is what a ticket says, before anybody has looked whether it is true.
type claim struct {
	project, key string
	proof        []byte
}

// maxTicket is more than any ticket has.
const maxTicket = 512

// parseTicket reads what a ticket says.
func parseTicket(ticket string) (claim, bool) {
	if len(ticket) > maxTicket {
		return claim{}, false
	}
	raw, err := base64.RawURLEncoding.DecodeString(ticket)
	if err != nil || len(raw) < sha256.Size {
		return claim{}, false
	}
	names, sum := raw[:len(raw)-sha256.Size], raw[len(raw)-sha256.Size:]
	parts := bytes.Split(names, []byte{0})
	if len(parts) != 3 || len(parts[0]) == 0 || len(parts[1]) == 0 || len(parts[2]) != 0 {
		return claim{}, false
	}
	return claim{project: string(parts[0]), key: string(parts[1]), proof: sum}, true
}

// provenBy reports whether the ticket is the one of a key.
func (c claim) provenBy(key *flags.Key) bool { return hmac.Equal(c.proof, proof(c.project, key)) }
