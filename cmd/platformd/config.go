package main

import (
	"fmt"
	"os"

	"github.com/platformd/platformd/internal/document"
	"github.com/platformd/platformd/internal/state"
)

// firstDocument reads the document for the first start; nil is the default one.
func firstDocument(path string) (func() state.State, error) {
	if path == "" {
		return nil, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read --config: %w", err)
	}
	var s state.State
	if err := document.Decode(data, path, &s); err != nil {
		return nil, err
	}
	if err := s.Validate(); err != nil {
		return nil, document.Place(err, data, path)
	}
	return func() state.State { return s }, nil
}
