package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/firewall/feeds"
	"github.com/platformd/platformd/firewall/feeds/fetch"
	"github.com/platformd/platformd/firewall/geo"
	"github.com/platformd/platformd/firewall/geo/mmdb"
	"github.com/platformd/platformd/firewall/ranges"
)

// Outbound is the whole of "platformd worker outbound": it confines the process, does the one job on stdin, writes the
// result to stdout and returns the exit status. A job that fails is a result, with status 0. It is no use without the
// descriptors that Pool gives.
func Outbound(stdin io.Reader, stdout, stderr io.Writer) int {
	unix.Close(fdExe)
	weak, err := confine(true)
	if err != nil {
		fmt.Fprintln(stderr, "confine worker:", err)
		return 1
	}
	var req request
	dec := json.NewDecoder(io.LimitReader(stdin, maxJob))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&req); err != nil {
		fmt.Fprintln(stderr, "read job:", err)
		return 1
	}
	if err := req.Job.check(); err != nil {
		fmt.Fprintln(stderr, "read job:", err)
		return 1
	}
	more, err := confineFiles(!req.Job.isFile())
	if err != nil {
		fmt.Fprintln(stderr, "confine worker:", err)
		return 1
	}
	rep := reply{}
	if err := do(req, &rep); err != nil {
		rep.Error = clean(err.Error())
	}
	rep.Weak = append(weak, more...)
	if err := json.NewEncoder(stdout).Encode(rep); err != nil {
		fmt.Fprintln(stderr, "write result:", err)
		return 1
	}
	return 0
}

func do(req request, rep *reply) error {
	ctx, cancel := context.WithTimeout(context.Background(), req.Job.Timeout)
	defer cancel()
	out := os.NewFile(fdOut, "output")
	if out == nil {
		return errors.New("descriptor 3 is not open")
	}
	switch req.Job.Kind {
	case FetchFeed:
		return doFeed(ctx, req, rep, out)
	case ParseGeo:
		return doGeo(req.Job, rep, out)
	}
	return fmt.Errorf("kind %q is unknown", req.Job.Kind)
}

func doFeed(ctx context.Context, req request, rep *reply, out io.WriteSeeker) error {
	job := req.Job
	read := func(r io.Reader) error {
		res, err := feeds.Parse(r, job.Format, job.Feed)
		rep.Format, rep.Lines, rep.Bad, rep.BadLines = res.Format, res.Lines, res.Bad, res.BadLines
		if err != nil {
			return err
		}
		_, err = ranges.Encode(out, ranges.FromSlice(res.Ranges))
		return err
	}
	if job.isFile() {
		if err := read(os.NewFile(fdIn, job.Source)); err != nil {
			return fmt.Errorf("read %s: %w", job.Source, err)
		}
		return nil
	}
	res, err := fetch.Get(ctx, fetch.Request{URL: job.Source, ETag: job.ETag, LastModified: job.LastModified, MaxBytes: job.Feed.Bytes, UserAgent: req.UserAgent}, read)
	rep.NotModified, rep.ETag, rep.LastModified, rep.RetryAfter = res.NotModified, res.ETag, res.LastModified, res.RetryAfter
	return err
}

func doGeo(job Job, rep *reply, out io.WriteSeeker) error {
	in := os.NewFile(fdIn, job.Source)
	records, stats, err := readGeo(in, job)
	rep.Geo = stats
	if err != nil {
		return fmt.Errorf("read %s: %w", job.Source, err)
	}
	if _, err := geo.Encode(out, records); err != nil {
		return fmt.Errorf("read %s: %w", job.Source, err)
	}
	return nil
}

func readGeo(in *os.File, job Job) (geo.Seq, geo.Stats, error) {
	format := job.Format
	if format == "" {
		st, err := in.Stat()
		if err != nil {
			return nil, geo.Stats{}, err
		}
		if format, err = geo.Detect(in, st.Size()); err != nil {
			return nil, geo.Stats{}, err
		}
	}
	if format == geo.MMDB {
		return mmdb.Read(in, job.Geo)
	}
	return geo.Read(in, format, job.Geo)
}
