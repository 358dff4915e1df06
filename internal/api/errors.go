package api

import "errors"

// What a caller can mend. Host methods wrap them; the API turns each into a status and a code.
var (
	// ErrInvalid: what was asked for is wrong in itself.
	ErrInvalid = errors.New("not valid")
	// ErrNotFound: it concerns something that is not there.
	ErrNotFound = errors.New("not found")
	// ErrExists: something else of that name is there already.
	ErrExists = errors.New("exists already")
	// ErrLockout: it would cut off the host or who asks.
	ErrLockout = errors.New("would lock out")
	// ErrUnavailable: a part that the request needs is not there, such as geo data.
	ErrUnavailable = errors.New("not available")
)
