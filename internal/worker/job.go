package worker

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/platformd/platformd/firewall/feeds"
	"github.com/platformd/platformd/firewall/feeds/fetch"
	"github.com/platformd/platformd/firewall/geo"
)

// Kind is what a job does.
type Kind string

// The kinds of job.
const (
	FetchFeed Kind = "fetch-feed" // a feed by URL or path into ranges
	ParseGeo  Kind = "parse-geo"  // a file of country data into records
)

// Job is one piece of work.
type Job struct {
	Kind Kind `json:"kind"`
	// Source is an https or http URL (FetchFeed only), or an absolute path.
	Source string `json:"source"`
	// Format is one of the kind's formats, or empty for detection.
	Format string `json:"format,omitempty"`
	// ETag and LastModified are those of the last result; empty reads the source in any case. Of a file, ETag stands for
	// its time and size.
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"last_modified,omitempty"`
	// Timeout bounds the job; zero is 2 minutes.
	Timeout time.Duration `json:"timeout,omitempty"`
	Feed    feeds.Limits  `json:"feed,omitzero"`
	Geo     geo.Limits    `json:"geo,omitzero"`
}

func (j Job) isFile() bool { return strings.HasPrefix(j.Source, "/") }

// CheckSource reports why source is neither a URL that can be fetched nor an absolute path.
func CheckSource(source string) error {
	if strings.HasPrefix(source, "/") {
		if strings.ContainsRune(source, 0) {
			return errors.New("path has a zero byte in it")
		}
		return nil
	}
	if !strings.Contains(source, "://") {
		return errors.New("neither a URL nor an absolute path; write for example https://lists.example.org/drop.txt or /etc/platform/drop.txt")
	}
	return fetch.CheckURL(source)
}

// check completes a job and reports what is wrong with it.
func (j *Job) check() error {
	if j.Timeout <= 0 {
		j.Timeout = 2 * time.Minute
	}
	if err := CheckSource(j.Source); err != nil {
		return fmt.Errorf("source %q: %w", clean(j.Source), err)
	}
	switch j.Kind {
	case FetchFeed:
		return feeds.CheckFormat(j.Format)
	case ParseGeo:
		if !j.isFile() {
			return fmt.Errorf("source %q: country data is read from a file; write an absolute path", clean(j.Source))
		}
		return geo.CheckFormat(j.Format)
	}
	return fmt.Errorf("kind %q is unknown", clean(string(j.Kind)))
}

// Bounds of what passes between the processes.
const (
	maxJob      = 64 << 10
	maxReply    = 64 << 10
	maxText     = 500
	maxBadLines = 10
)

// reply is what the child says.
type reply struct {
	Error        string          `json:"error,omitempty"`
	NotModified  bool            `json:"not_modified,omitempty"`
	ETag         string          `json:"etag,omitempty"`
	LastModified string          `json:"last_modified,omitempty"`
	RetryAfter   time.Duration   `json:"retry_after,omitempty"`
	Format       string          `json:"format,omitempty"`
	Lines        int             `json:"lines,omitempty"`
	Bad          int             `json:"bad,omitempty"`
	BadLines     []feeds.BadLine `json:"bad_lines,omitempty"`
	Geo          geo.Stats       `json:"geo,omitzero"`
	Weak         []string        `json:"weak,omitempty"`
}

// check bounds every field, whatever it says.
func (r *reply) check() error {
	r.Error = clean(r.Error)
	if len(r.ETag) > maxText || r.ETag != clean(r.ETag) || len(r.LastModified) > 64 || r.LastModified != clean(r.LastModified) {
		return errors.New("validators are not plain text")
	}
	if feeds.CheckFormat(r.Format) != nil || geo.CheckFormat(r.Geo.Format) != nil {
		return errors.New("format is unknown")
	}
	if r.Lines < 0 || r.Bad < 0 || r.Bad > r.Lines || r.Geo.Lines < 0 || r.Geo.Bad < 0 || r.Geo.Records < 0 || r.Geo.Unknown < 0 || r.Geo.Bad > r.Geo.Lines {
		return errors.New("counts do not agree")
	}
	if r.RetryAfter < 0 || r.RetryAfter > 24*time.Hour || len(r.BadLines) > maxBadLines || len(r.Weak) > 20 {
		return errors.New("numbers are out of bounds")
	}
	for i := range r.BadLines {
		r.BadLines[i].Cause = clean(r.BadLines[i].Cause)
	}
	for i := range r.Weak {
		r.Weak[i] = clean(r.Weak[i])
	}
	r.Geo.FirstBad = clean(r.Geo.FirstBad)
	return nil
}

// clean makes text of another process fit for a log or a message.
func clean(s string) string {
	if len(s) > maxText {
		s = s[:maxText] + "..."
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\ufffd' || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}
