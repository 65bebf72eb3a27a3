// Package sluice decides feature gates, dynamic configs, experiments and layers
// inside your Go service, and keeps what it decides by up to date while you
// flip flags.
//
// # What it promises
//
// A decision is made in this process, from memory: no network, no lock, no
// allocation, and the same answer that an edge gives for the same user, because
// both ask the same evaluator (pkg/eval). A change that somebody makes reaches
// the client by push, over one WebSocket, and takes effect whole: a decision
// sees the state before it or the state after it, never between.
//
// Whatever happens to the network, decisions go on. The last known state never
// expires; the client only says that it is [Stale], and since when. What it may
// start from, in this order: the state it holds, the store ([WithStore]), the
// bootstrap ([WithBootstrap]), the default that the caller names. New never
// waits, and Ready waits no longer than its limit.
//
// Exposures and events are queued within bounds, sent in batches, and sent again
// with the same bytes until they are acknowledged; the server counts a batch
// once however often it arrives. What does not fit the queue is dropped and
// counted in [Status]. Private attributes of users take part in decisions and
// are never sent anywhere.
//
// # In five minutes
//
//	client, err := sluice.New(key, sluice.WithURL("https://flags.example.com"))
//	…
//	defer client.Close(ctx)
//	if err := client.Ready(ctx); err != nil { … } // a warning: it works on by itself
//
//	user := sluice.User{UserID: "u-42", Email: "ann@example.com"}
//	if client.Gate(&user, "new_checkout").Value { … }
//	colour := client.Config(&user, "button").Text("color", "grey")
//	layout := client.Layer(&user, "home").Text("layout", "list") // this read is the exposure
//	client.LogEvent(sluice.Event{User: user, Name: "purchase", Value: 12.5})
//
// Every decision carries its reason, its rule and the sequence of the state that
// it was made by. A name that nobody defined is false, empty, your default; it
// is no error.
//
// # How it works
//
//	edge ──/v1/live──▶ feed ──▶ atomic pointer ──▶ decisions ──▶ recorder ──▶ /v1/log_event
//	     ◀──poll─────   │                                          (queue, batches)
//	                    └──▶ keeper ──▶ store
//
// Three goroutines, all started by [New] and ended by [Client.Close]: the feed
// holds the connection and applies frames (feed.go, stream.go, definitions.go),
// polling where WebSockets do not get through; the recorder sends what was
// logged; the keeper writes the state to the store. Clients share nothing: a
// process may have as many as it likes.
package sluice
