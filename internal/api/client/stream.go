package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"time"

	"github.com/platformd/platformd/internal/api/wire"
)

// Activity lists records.
func (c *Client) Activity(ctx context.Context, f wire.ActivityFilter) ([]wire.Record, error) {
	return get[[]wire.Record](ctx, c, "/activity", filter(f))
}

// VerifyActivity reads the whole activity log and says what is wrong with it.
func (c *Client) VerifyActivity(ctx context.Context) (wire.ActivityReport, error) {
	return get[wire.ActivityReport](ctx, c, "/activity/verify", nil)
}

// FollowActivity gives the records that are there, and then each as it is written. An error is the last thing it gives.
func (c *Client) FollowActivity(ctx context.Context, f wire.ActivityFilter) iter.Seq2[wire.Record, error] {
	return events[wire.Record](ctx, c, "/activity/stream", filter(f))
}

// FollowDrops gives the refused packets that are remembered behind after, and then each as it comes.
func (c *Client) FollowDrops(ctx context.Context, after uint64) iter.Seq2[wire.Drop, error] {
	return events[wire.Drop](ctx, c, "/drops/stream", url.Values{"after": {fmt.Sprint(after)}})
}

// FollowProxyLog gives the requests that are remembered behind after, and then each as it is answered.
func (c *Client) FollowProxyLog(ctx context.Context, f wire.AccessFilter, after uint64) iter.Seq2[wire.Access, error] {
	q := accessFilter(f)
	q.Set("after", fmt.Sprint(after))
	return events[wire.Access](ctx, c, "/proxy/log/stream", q)
}

func filter(f wire.ActivityFilter) url.Values {
	q := url.Values{}
	for _, t := range []struct {
		key string
		at  time.Time
	}{{"since", f.Since}, {"until", f.Until}} {
		if !t.at.IsZero() {
			q.Set(t.key, t.at.UTC().Format(time.RFC3339Nano))
		}
	}
	for _, v := range [][2]string{{"actor", f.Actor}, {"action", f.Action}, {"object", f.Object}, {"source", f.Source}, {"text", f.Text}, {"outcome", f.Outcome}} {
		with(q, v[0], v[1])
	}
	if f.After != 0 {
		q.Set("after", fmt.Sprint(f.After))
	}
	if f.Limit != 0 {
		q.Set("limit", fmt.Sprint(f.Limit))
	}
	if f.Newest {
		q.Set("newest", "true")
	}
	return q
}

// maxEvent bounds one event: a record with its before and after.
const maxEvent = 1 << 20

// events reads a stream of server-sent events until ctx ends or the daemon closes it.
func events[T any](ctx context.Context, c *Client, path string, q url.Values) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		resp, err := c.send(ctx, request{method: http.MethodGet, path: path, query: q})
		if err != nil {
			yield(zero, err)
			return
		}
		defer resp.Body.Close()
		for data, err := range eventData(resp.Body) {
			if ctx.Err() != nil {
				return
			}
			var v T
			if err == nil {
				err = json.Unmarshal(data, &v)
			}
			if err != nil {
				yield(zero, fmt.Errorf("read stream %s: %w", path, err))
				return
			}
			if !yield(v, nil) {
				return
			}
		}
	}
}

// eventData gives the data of each event of a text/event-stream. The daemon writes one data line for each event; further
// ones are joined as the format says. An error is the last thing it gives.
func eventData(r io.Reader) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, maxEvent)
		var data []byte
		has := false
		for lines.Scan() {
			line := lines.Bytes()
			if len(line) == 0 {
				if has && !yield(data, nil) {
					return
				}
				data, has = nil, false
				continue
			}
			if value, ok := bytes.CutPrefix(line, []byte("data:")); ok {
				if has {
					data = append(data, '\n')
				}
				data, has = append(data, bytes.TrimPrefix(value, []byte(" "))...), true
				if len(data) > maxEvent {
					yield(nil, fmt.Errorf("an event is longer than %d bytes", maxEvent))
					return
				}
			}
		}
		if err := lines.Err(); err != nil {
			yield(nil, err)
		}
	}
}
