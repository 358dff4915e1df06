package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/platformd/platformd/internal/api/client"
	"github.com/platformd/platformd/internal/api/wire"
)

// How platformctl ends. The table in the help topic is made from exitCodes.
const (
	exitOK          = 0
	exitInternal    = 1
	exitUsage       = 2
	exitNotVerified = 3
	exitNotFound    = 4
	exitConflict    = 5
	exitLockout     = 6
	exitUnreachable = 7
	exitUnavailable = 8
	exitChanges     = 9
)

type exitCode struct {
	code    int
	meaning string
}

func exitCodes() []exitCode {
	return []exitCode{
		{exitOK, "done"},
		{exitInternal, "an error that is nobody's fault here: platformd could not do it, or a file could not be read or written"},
		{exitUsage, "bad input: a mistake on the command line, in a file, or in what it asks for"},
		{exitNotVerified, "the kernel does not, or not yet, hold the policy; the activity log is not as it was written; doctor found a failure"},
		{exitNotFound, "what the command concerns is not there"},
		{exitConflict, "something else of that name exists, the document was changed meanwhile, or a change waits for its confirmation"},
		{exitLockout, "it would cut off the host or you; --force overrules it"},
		{exitUnreachable, "platformd does not answer on the socket, or you may not use it"},
		{exitUnavailable, "a part that is needed is not there, such as country data, or the disk is full"},
		{exitChanges, "app plan: there is something to change"},
	}
}

// codedError is an error with its exit code.
type codedError struct {
	code int
	text string
}

func (e *codedError) Error() string { return e.text }

// usage is a mistake of who typed the command.
func usage(format string, args ...any) error {
	return &codedError{exitUsage, fmt.Sprintf(format, args...)}
}

// mistakes are usage errors, all at once; nil where there are none.
func mistakes(errs []error) error {
	if err := errors.Join(errs...); err != nil {
		return usage("%v", err)
	}
	return nil
}

// codeOf is how the process ends with err.
func codeOf(err error) int {
	var coded *codedError
	var problem *wire.Problem
	var gone *client.UnreachableError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &coded):
		return coded.code
	case errors.As(err, &gone):
		return exitUnreachable
	case errors.As(err, &problem):
		return codeOfProblem(problem.Code)
	}
	return exitInternal
}

func codeOfProblem(c wire.Code) int {
	switch c {
	case wire.CodeBadRequest, wire.CodeInvalid, wire.CodeTooLarge:
		return exitUsage
	case wire.CodeNotFound:
		return exitNotFound
	case wire.CodeExists, wire.CodeConflict, wire.CodeConfirmationPending:
		return exitConflict
	case wire.CodeLockout:
		return exitLockout
	case wire.CodeForbidden:
		return exitUnreachable
	case wire.CodeUnavailable, wire.CodeStorageFull:
		return exitUnavailable
	}
	return exitInternal
}

// explain is err in lines for people.
func (a *app) explain(err error) []string {
	var gone *client.UnreachableError
	switch {
	case err == nil || err.Error() == "":
		return nil
	case errors.As(err, &gone):
		return []string{unreachable(gone)}
	}
	return strings.Split(err.Error(), "\n")
}

func unreachable(e *client.UnreachableError) string {
	remedy := "look at its log: journalctl -u platformd"
	why := fmt.Sprint(e.Cause)
	var no syscall.Errno
	if errors.As(e.Cause, &no) {
		why = no.Error()
	}
	switch {
	case errors.Is(e.Cause, fs.ErrNotExist), errors.Is(e.Cause, syscall.ECONNREFUSED):
		remedy = "start it with: systemctl start platformd, or name the socket of one that runs elsewhere with --socket or PLATFORM_SOCKET"
	case errors.Is(e.Cause, fs.ErrPermission):
		remedy = "use sudo, or become a member of group platform"
	case errors.Is(e.Cause, context.DeadlineExceeded):
		why = "no answer in time"
	}
	return fmt.Sprintf("platformd does not answer on %s (%s); %s", e.Socket, why, remedy)
}

// newExitCodesTopic is `platformctl help exit-codes`.
func newExitCodesTopic() *cobra.Command {
	var b strings.Builder
	b.WriteString("platformctl ends with one of these codes:\n\n")
	for _, e := range exitCodes() {
		fmt.Fprintf(&b, "  %d  %s\n", e.code, e.meaning)
	}
	return &cobra.Command{Use: "exit-codes", Short: "How platformctl ends, for scripts", Long: strings.TrimRight(b.String(), "\n")}
}
