package compose

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"

	"github.com/platformd/platformd/apps/compose/report"
)

// maxRequest bounds a request, of which the file is the most.
const maxRequest = 32 << 20

// Serve answers one request: it is what the program of package report does.
func Serve(in io.Reader, out io.Writer) error {
	var req report.Request
	if err := json.NewDecoder(io.LimitReader(in, maxRequest)).Decode(&req); err != nil {
		return fmt.Errorf("read request: %w", err)
	}
	var a report.Answer
	var err error
	if a.Result, a.Manifest, err = answer(req); err != nil {
		a = report.Answer{Error: err.Error()}
	}
	return json.NewEncoder(out).Encode(a)
}

func answer(req report.Request) (*Result, []byte, error) {
	variables, err := ReadVariables(bytes.NewReader(req.EnvFile))
	if err != nil {
		return nil, nil, err
	}
	if variables == nil {
		variables = map[string]string{}
	}
	maps.Copy(variables, req.Options.Variables)
	req.Options.Variables = variables
	r, err := Import(req.File, req.Options)
	if err != nil {
		return nil, nil, err
	}
	manifest, err := Encode(&r.Manifest)
	return r, manifest, err
}
