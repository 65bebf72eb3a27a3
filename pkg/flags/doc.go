// Package flags holds the documents that people edit and what they lower to.
package flags
