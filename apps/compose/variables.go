package compose

import (
	"fmt"
	"io"

	"github.com/compose-spec/compose-go/v2/dotenv"
)

// ReadVariables reads a file of NAME=VALUE lines, as Docker Compose reads .env. Nothing but the text is looked at.
func ReadVariables(r io.Reader) (map[string]string, error) {
	out, err := dotenv.ParseWithLookup(io.LimitReader(r, maxBytes), func(string) (string, bool) { return "", false })
	if err != nil {
		return nil, fmt.Errorf("read variables: %w", err)
	}
	return out, nil
}
