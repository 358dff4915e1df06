package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/platformd/platformd/apps/compose/report"
)

// readCompose has the program that reads compose files read one. It is found beside this one, else in $PATH.
func (a *app) readCompose(ctx context.Context, req report.Request) (answer report.Answer, err error) {
	path, err := a.program(report.Program)
	if err != nil {
		return answer, err
	}
	theirIn, in, err := os.Pipe()
	if err != nil {
		return answer, err
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		return answer, errors.Join(err, theirIn.Close(), in.Close())
	}
	p, err := os.StartProcess(path, []string{report.Program}, &os.ProcAttr{Files: []*os.File{theirIn, theirOut, os.Stderr}})
	theirIn.Close()
	theirOut.Close()
	defer out.Close()
	if err != nil {
		return answer, errors.Join(fmt.Errorf("start %s: %w", path, err), in.Close())
	}
	defer context.AfterFunc(ctx, func() { _ = p.Kill() })()
	go func() {
		_ = json.NewEncoder(in).Encode(req) // whether it came is seen in the answer
		in.Close()
	}()
	data, readErr := io.ReadAll(io.LimitReader(out, maxFile))
	state, err := p.Wait()
	if err == nil && !state.Success() {
		err = fmt.Errorf("%s: %v", report.Program, state)
	}
	if err = errors.Join(err, readErr, ctx.Err()); err != nil {
		return answer, err
	}
	return answer, json.Unmarshal(data, &answer)
}

// program finds a program of ours.
func (a *app) program(name string) (string, error) {
	var folders []string
	if own, err := os.Executable(); err == nil {
		folders = append(folders, filepath.Dir(own))
	}
	for _, dir := range append(folders, strings.Split(a.env("PATH"), ":")...) {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 && filepath.IsAbs(path) {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not there; it belongs beside platformctl: install it again, or build it with make build", name)
}
