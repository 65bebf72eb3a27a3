// Package eval decides gates, configs, experiments and layers for a user.
//
// # What it promises
//
// A decision is a function of its arguments: the same specs, user and time give
// the same answer on every machine, and the answer that the published Statsig
// SDKs give wherever they agree among themselves (testdata/vectors holds 16,108
// of their answers, and 210 of their client payloads). Deciding takes no lock and
// does not allocate. Nothing that specs or users contain makes it panic: an
// entity that cannot be compiled is quarantined alone, with its reason, and
// evaluates as unsupported.
//
// The package needs the standard library only. What it cannot know by itself,
// countries of addresses and browsers behind user agents, it asks of a
// [CountryLookup] and a [UserAgentParser].
//
// # In five minutes
//
// [ParseSpecs] reads the body of a spec download, [Compile] makes a [Ruleset] of
// it, and the ruleset answers:
//
//	specs, err := eval.ParseSpecs(body)
//	…
//	rules := eval.Compile(specs, eval.Options{})
//	user := eval.User{UserID: "u-42", Email: "ann@example.com"}
//	if rules.Gate(&user, "new_checkout").Pass { … }
//	json.Unmarshal(rules.Config(&user, "button").Value, &button)
//
// A [Result] carries what an exposure records: rule, group, version, the gates
// that were consulted on the way; the ruleset's sequence, and its source if
// [Options] name one. [Ruleset.Trace] explains a decision to people.
//
// Rulesets do not change. Keep the current one behind an atomic pointer; when a
// definition changes, [Ruleset.Apply] makes the next from it in microseconds and
// readers go on undisturbed:
//
//	current.Store(current.Load().Apply(change))
//
// For browsers and phones, [Ruleset.AppendClient] writes every answer for one user
// as the body of an initialize response. After a change, [Ruleset.Dependents]
// names what may differ, and [Ruleset.AppendClientEntry] writes just that.
// [Ruleset.NextBoundary] tells when time alone will change an answer.
//
// # How it works
//
// All work that does not need the user is done when a spec is compiled: operators
// become tests with parsed targets (condition_*.go), fields become properties,
// names of gates become slots, salts become hash prefixes, and every possible
// answer of a spec becomes an outcome with its JSON ready (compile.go). A decision
// (evaluator.go) then walks the rules: each distinct condition of a spec is asked
// once, a rule stops at its first failing condition, and only conditions on gates
// are always asked, because asking them is what exposes them. The unit's bucket is
// the one block of SHA-256 that remains. A payload also remembers what conditions
// that several rules share have answered.
//
// A name keeps its slot for ever, and slots live in a paged table (table.go) of
// which a copy shares all but what it changes. So a changed gate takes effect for
// everything that refers to it without touching that.
//
// # Where SDKs differ
//
// The published SDKs disagree in corners: dates that are absent, versions that do
// not parse, numbers with spaces. There the evaluator takes one side, usually the
// majority's; vectors_test.go lists each case with its reason. Package evaltest
// holds the evaluator to other recorded answers in the same formats.
package eval
