package h1

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// ErrMalformed is what errors of answers that cannot be passed on wrap.
var ErrMalformed = errors.New("malformed answer")

// ErrRequest is what errors of requests that cannot be written down wrap.
var ErrRequest = errors.New("request cannot be sent")

func malformed(reason string) error { return fmt.Errorf("%w: %s", ErrMalformed, reason) }

// BodyError is an error of the request's body, which is the client's.
type BodyError struct{ Err error }

// Error implements error.
func (e *BodyError) Error() string { return "read request body: " + e.Err.Error() }

// Unwrap gives the cause.
func (e *BodyError) Unwrap() error { return e.Err }

// Error is a failure to talk to a back end.
type Error struct {
	Op  string // connect, write or read
	Err error
	// Sent says that something of the request may have reached it, and Answered that something came back.
	Sent, Answered bool
}

// Error implements error.
func (e *Error) Error() string { return e.Op + ": " + e.Err.Error() }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Timeout reports whether the back end took too long.
func (e *Error) Timeout() bool {
	var t interface{ Timeout() bool }
	return errors.Is(e.Err, os.ErrDeadlineExceeded) || errors.Is(e.Err, context.DeadlineExceeded) || errors.As(e.Err, &t) && t.Timeout()
}

// cause is what an error of the connection really is: the client's leaving, or its body's, ends the connection too.
func (c *conn) cause(ctx context.Context, op string, err error) error {
	if e := ctx.Err(); e != nil {
		return e
	}
	if e := c.bodyErr.Load(); e != nil {
		return *e
	}
	return &Error{Op: op, Err: err, Sent: c.wrote.Load(), Answered: c.answered}
}
