// Package statsig reads and writes the bodies of the Statsig protocol: what
// official SDKs of every family send, in every encoding they send it in, and
// what they expect back. It knows bytes, not decisions: services put meaning
// behind it. Every decoder here reads text from strangers, so each has limits,
// fails with a [web.Error] that says what is wrong, and is fuzzed.
package statsig
