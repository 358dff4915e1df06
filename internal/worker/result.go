package worker

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/platformd/platformd/firewall/feeds"
	"github.com/platformd/platformd/firewall/geo"
	"github.com/platformd/platformd/firewall/ranges"
)

// Result is what a job brought. Close it: what it read is in a file without a name.
type Result struct {
	// NotModified means that the source is as it was; there is nothing to read.
	NotModified bool
	// ETag and LastModified are for the next job; see Job.
	ETag, LastModified string
	// RetryAfter is how long the server asks to be left alone. It is set beside an error.
	RetryAfter time.Duration
	// Weak says in words which parts of the confinement were not to be had.
	Weak []string

	job    Job
	reply  reply
	ranges *ranges.File
	geo    *geo.File
}

// Close frees the file.
func (r *Result) Close() error {
	var err error
	if r.ranges != nil {
		err = r.ranges.Close()
	}
	if r.geo != nil {
		err = errors.Join(err, r.geo.Close())
	}
	return err
}

// Copy is the feed that a FetchFeed job read, for feeds.Store.Put. Its ranges are checked as they are read.
func (r *Result) Copy() feeds.Copy {
	c := feeds.Copy{Source: r.job.Source, Format: r.reply.Format, ETag: r.ETag, LastModified: r.LastModified,
		Lines: r.reply.Lines, Bad: r.reply.Bad, BadLines: r.reply.BadLines}
	if r.ranges == nil {
		c.Ranges = ranges.Fail(errors.New("job read no feed"))
	} else {
		c.Ranges = r.ranges.All()
	}
	return c
}

// Geo is the source that a ParseGeo job read, for geo.Store.Put. Its records are checked as they are read.
func (r *Result) Geo() geo.Source {
	src := geo.Source{Path: r.job.Source, Stamp: r.ETag, Stats: r.reply.Geo}
	if r.geo == nil {
		src.Records = func(yield func(geo.Record, error) bool) { yield(geo.Record{}, errors.New("job read no country data")) }
	} else {
		src.Records = r.geo.All()
	}
	return src
}

// open takes over out, what the child wrote, unless there is an error.
func (r *Result) open(out *os.File) error {
	switch r.job.Kind {
	case FetchFeed:
		f, err := ranges.NewFile(out)
		if err != nil {
			return err
		}
		most := r.job.Feed.Ranges
		if most <= 0 {
			most = 2_000_000
		}
		if n := f.Info().V4 + f.Info().V6; n > most {
			return fmt.Errorf("%d ranges, at most %d are allowed", n, most)
		}
		r.ranges = f
	case ParseGeo:
		f, err := geo.NewFile(out)
		if err != nil {
			return err
		}
		// Taking out addresses that are not public can split a record; there are far fewer than this.
		if n, most := f.Info().V4+f.Info().V6, r.job.Geo.OrDefaults().Records+1000; n > most {
			return fmt.Errorf("%d records, at most %d are allowed", n, most)
		}
		r.geo = f
	}
	return nil
}
