package wire

import (
	"fmt"
	"strings"
)

// Code is the kind of a Problem.
type Code string

// The codes, with the status that each goes with.
const (
	// CodeBadRequest (400): the request itself cannot be read.
	CodeBadRequest Code = "bad-request"
	// CodeForbidden (403): the caller may not use this API.
	CodeForbidden Code = "forbidden"
	// CodeLockout (403): it would cut off the host or the caller; force overrules it.
	CodeLockout Code = "lockout"
	// CodeNotFound (404): it concerns something that is not there.
	CodeNotFound Code = "not-found"
	// CodeExists (409): something else of that name is there already.
	CodeExists Code = "exists"
	// CodeConflict (409): the document was changed meanwhile.
	CodeConflict Code = "conflict"
	// CodeConfirmationPending (409): an earlier change waits for its confirmation.
	CodeConfirmationPending Code = "confirmation-pending"
	// CodeTooLarge (413): the request is larger than the daemon reads.
	CodeTooLarge Code = "too-large"
	// CodeInvalid (422): what was asked for is wrong in itself; Errors has every mistake.
	CodeInvalid Code = "invalid"
	// CodeInternal (500): it could not be done, and the caller is not to blame.
	CodeInternal Code = "internal"
	// CodeUnavailable (503): a part that the request needs is not there.
	CodeUnavailable Code = "unavailable"
	// CodeStorageFull (507): the disk is full; nothing has changed.
	CodeStorageFull Code = "storage-full"
)

// Problem is a refusal, as RFC 9457 has it.
type Problem struct {
	Type   string `json:"type" doc:"Always about:blank: the code says what kind of problem it is."`
	Title  string `json:"title" doc:"The status as a phrase."`
	Status int    `json:"status"`
	Code   Code   `json:"code" doc:"What kind of problem it is, for programs."`
	Detail string `json:"detail" doc:"What is wrong, and what to do about it."`
	Object string `json:"object,omitempty" doc:"What the request concerned."`
	// Errors are all mistakes of a request that is not valid.
	Errors []Mistake `json:"errors,omitempty" doc:"Every single mistake."`
}

// Mistake is one thing that is wrong with a request.
type Mistake struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
	Path   string `json:"path,omitempty" doc:"The field of the document or of the request."`
	Reason string `json:"reason"`
}

// Error is the detail.
func (p *Problem) Error() string { return p.Detail }

// GetStatus is the HTTP status.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is that of RFC 9457.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// String is one line; where the place in a file is known, in the form that editors understand.
func (m Mistake) String() string {
	if m.Line == 0 {
		return m.Reason
	}
	var b strings.Builder
	if m.File != "" {
		b.WriteString(m.File + ":")
	}
	fmt.Fprintf(&b, "%d:%d: ", m.Line, m.Column)
	if m.Path != "" {
		b.WriteString(m.Path + ": ")
	}
	return b.String() + m.Reason
}
