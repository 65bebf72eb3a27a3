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
