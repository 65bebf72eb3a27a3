// Package facts carries exposures and events over the bus: from whoever
// accepted them to whoever loads them into the warehouse.
//
// On the way in, a [Publisher] puts facts that arrive together into one
// message, and tells each sender that its facts are safe only after the stream
// has that message on the disk. A [Window] of what was stored lately makes a
// sender's retry count once.
//
// On the way out, a [Reader] hands back messages by their sequence, and [Plans]
// freezes which messages make a batch before anybody tries to load it. A batch
// is the same batch in every attempt, by every process, after every crash:
// that is what lets the warehouse drop the repetition. [Room] lets go of what has
// been loaded for long enough when the stream runs full.
package facts
