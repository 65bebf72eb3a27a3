package command

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sluice-flags/sluice/pkg/flags"
)

// The scopes of a console key: what it may do. A key without scopes has all.
const (
	ScopeRead  = "read"
	ScopeWrite = "write"
	ScopeKill  = "kill"  // turn things off, and nothing else
	ScopeForce = "force" // write over what nobody has read
)

var scopes = []string{ScopeRead, ScopeWrite, ScopeKill, ScopeForce}

// Grants are the scopes that a key gets with a change from before, which is nil
// if it is new: all it has, unless it had the same.
func Grants(before, after flags.Document) []string {
	key, ok := after.(*flags.Key)
	if !ok || key.Kind != flags.KeyConsole {
		return nil
	}
	if was, ok := before.(*flags.Key); ok && slices.Equal(was.Scopes, key.Scopes) {
		return nil
	}
	if len(key.Scopes) == 0 {
		return scopes
	}
	return key.Scopes
}

// checkScopes finds scopes that would open nothing, for they are misspelt.
func checkScopes(doc flags.Document) flags.Problems {
	key, ok := doc.(*flags.Key)
	if !ok {
		return nil
	}
	var out flags.Problems
	for i, s := range key.Scopes {
		if !slices.Contains(scopes, s) {
			out = append(out, flags.Problem{Pointer: fmt.Sprintf("/scopes/%d", i), Code: flags.CodeInvalid,
				Message: "there is no such scope: it is one of " + strings.Join(scopes, ", ")})
		}
	}
	return out
}
