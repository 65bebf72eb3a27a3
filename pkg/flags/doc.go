// Package flags holds the definitions of a project: the documents that people
// edit, the rules that make a document lawful, all documents of a project at one
// position of its log, and what they lower to for evaluation.
//
// It is pure: functions of their arguments, no clock, no I/O (but for [NewID]).
// Control decides with it before it appends to the log, and everything that
// follows the log folds with it, so all of them mean the same by a definition.
//
// # Documents
//
// A [Document] is the whole of one entity: [Gate], [Config], [Experiment],
// [Layer], [Segment] and the [IDBatch]es of one, [Holdout], [Environment], [Key],
// [Metric], [Project]. It has an immutable id and a name that code uses; other
// documents name it by either. On its way into the log a document goes through
// four steps:
//
//	d, err := flags.Decode(kind, body)      // shape: every mistake, with its pointer
//	flags.Advance(state, d, now, nil)       // ids, steps, dates, buckets that only we know
//	problems := flags.Validate(state, d)    // sense: every problem, references and past included
//	ops := flags.Diff(before, d)            // what was done, with what was there before
//
// and out of the log through one: [Load], which is strict about nothing, because
// a log is read by older programs than the one that wrote it.
//
// # State
//
// A [State] is an immutable set of documents with its indexes: names without
// their case, retired names, keys by hash, and the graph of who refers to whom.
// A change makes a new State that shares the rest with the old, so one can be
// handed to any number of readers while the next is made. State decides nothing:
// it takes what the log says. Folding entities one by one or all at once, in any
// order, gives the same State.
//
// # Lowering
//
// Only specs are evaluated (package eval), and [Lower] is the only way from
// documents to specs. It resolves references to wire names, keeps rules of other
// environments at home, and writes nothing that one family of SDKs would read
// differently from another. [LowerChange] does the same for what a change
// concerns; applying it equals lowering everything, and a property test over
// random projects says so.
//
// Three translations are worth knowing when reading specs:
//
//   - A rule's wire id is "<rule>:<percentage>:<step>", so that each step of a
//     rollout has results of its own. Its salt is the rule's own and stays, so that
//     raising the percentage keeps everyone who is in.
//   - An experiment's inline targeting becomes a hidden segment, because only a
//     gate can be asked for who is out.
//   - A decided experiment of a layer gives its parameters to everyone, as the
//     layer's defaults, until it is archived.
//
// # Adding to it
//
// A member of a document is optional for ever, gets a line in the schema under
// schemas/documents and a golden document. A kind of definition is one file with
// the type and its four methods, a row in the table of kinds, and, if it is
// evaluated, its lowering. A type of condition or an operator is a row in the
// table of conditions.
package flags
