// Package eval decides gates, configs, experiments and layers for a user: pure,
// without locks, and without allocating on the way to a gate's answer.
package eval
