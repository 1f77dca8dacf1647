// Package answers reads what a registry answers: its challenge, error codes, rate limit,
// lists of tags, media type and sizes, and which product it is. Every function is pure and
// bears any text.
package answers
