package eval_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/sluice-flags/sluice/pkg/eval"
)

// The hash is fed with blocks that were padded by hand, so every length around
// the ends of blocks has to be right.
func TestBucketsAreThoseOfSHA256ForEveryLengthOfSaltAndID(t *testing.T) {
	const longest = 140
	text := strings.Repeat("0123456789abcdef", longest/16+1)
	for saltLength := range longest {
		own := text[:saltLength]
		ruleset := compile(gate("g", "s", rule(own, 50, "true")))
		for idLength := range longest {
			u := eval.User{UserID: text[:idLength]}
			res, trace := ruleset.Trace(&u, eval.Ref{Section: eval.Gates, Name: "g"})
			sum := sha256.Sum256(fmt.Appendf(nil, "s.%s.%s", own, u.UserID))
			want := int(binary.BigEndian.Uint64(sum[:8]) % 10_000)
			got := trace.Rules[0].Rollout.Bucket
			if got != want || res.Pass != (want < 5_000) {
				t.Errorf("salt of %d bytes, id of %d: bucket %d, pass %v; want %d, %v",
					saltLength, idLength, got, res.Pass, want, want < 5_000)
			}
		}
	}
}
