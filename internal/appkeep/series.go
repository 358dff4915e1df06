package appkeep

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/platformd/platformd/apps"
)

// The time series of an app: one sample every sampleEvery for the last hour, in memory, and their means over coarseEvery for
// the last week, in a file of fixed size. A sample has its place in the file by its time, so that nothing is ever moved.
const (
	sampleEvery = 10 * time.Second
	fineKept    = 360
	coarseEvery = 5 * time.Minute
	coarseKept  = 2016
	sampleBytes = 7 * 8
)

// Sample is how much of the host an app used at a time.
type Sample struct {
	At             time.Time
	CPU            float64 // processors
	Memory, PIDs   int64
	Received, Sent float64 // bytes per second
	Disk           int64
}

// series is what is remembered of one app; its mutex is the keeper's.
type series struct {
	fine   []Sample
	last   apps.Usage
	lastAt time.Time
	disk   int64
	coarse time.Time // until when samples are in the file
}

// sample measures every app that runs, once each sampleEvery, until ctx ends. Without apps it does nothing.
func (k *Keeper) sample(ctx context.Context) {
	for ctx.Err() == nil {
		c := k.cfg.Current()
		if len(c.Apps) == 0 {
			k.cfg.Health.Clear("apps-disk")
			select {
			case <-ctx.Done():
			case <-k.measure:
			}
			continue
		}
		k.watchSpace()
		for i := range c.Apps {
			if a := &c.Apps[i]; !a.Stopped {
				k.Measure(ctx, a)
			}
		}
		pause(ctx, sampleEvery)
	}
}

// Measure takes one sample of an app.
func (k *Keeper) Measure(ctx context.Context, a *apps.App) {
	u, err := k.cfg.Engine.Usage(ctx, apps.ContainerName(a.Name, a.Current.Slot))
	if err != nil {
		return // it does not run, which is told elsewhere
	}
	k.mu.Lock()
	b, now := k.book(a.Name), k.cfg.Now()
	due := now.Sub(b.series.coarse) >= coarseEvery
	k.mu.Unlock()
	var disk int64
	if due {
		disk = sizeOf(filepath.Join(k.cfg.Folder, a.Name))
	}
	k.mu.Lock()
	s := &b.series
	if due {
		s.disk = disk
	}
	now = k.cfg.Now()
	if seconds := now.Sub(s.lastAt).Seconds(); !s.lastAt.IsZero() && seconds > 0 && u.CPU >= s.last.CPU { // else it was made anew
		s.fine = append(s.fine, Sample{At: now, CPU: (u.CPU - s.last.CPU).Seconds() / seconds, Memory: u.Memory, PIDs: u.PIDs, Disk: s.disk,
			Received: max(0, float64(u.Received-s.last.Received)/seconds), Sent: max(0, float64(u.Sent-s.last.Sent)/seconds)})
		s.fine = s.fine[max(0, len(s.fine)-fineKept):]
	}
	s.last, s.lastAt = u, now
	var whole Sample
	if due {
		whole = mean(s.fine, s.coarse)
		s.coarse = now
	}
	k.mu.Unlock()
	if due && !whole.At.IsZero() {
		if err := writeSample(k.seriesFile(a.Name), whole); err != nil {
			k.cfg.Log.Warn("keep the measurements of an app", "app", a.Name, "error", err)
		}
	}
}

// mean is that of the samples behind a time, at the time of the last.
func mean(list []Sample, after time.Time) (out Sample) {
	n := 0
	for _, s := range list {
		if !s.At.After(after) {
			continue
		}
		n++
		out.At, out.Disk = s.At, s.Disk
		out.CPU, out.Received, out.Sent = out.CPU+s.CPU, out.Received+s.Received, out.Sent+s.Sent
		out.Memory, out.PIDs = out.Memory+s.Memory, out.PIDs+s.PIDs
	}
	if n > 0 {
		out.CPU, out.Received, out.Sent = out.CPU/float64(n), out.Received/float64(n), out.Sent/float64(n)
		out.Memory, out.PIDs = out.Memory/int64(n), out.PIDs/int64(n)
	}
	return out
}

func (k *Keeper) seriesFile(app string) string { return filepath.Join(k.cfg.Folder, app, "series") }

// writeSample puts a sample into its place.
func writeSample(file string, s Sample) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	b := make([]byte, 0, sampleBytes)
	for _, v := range []uint64{uint64(s.At.UnixNano()), math.Float64bits(s.CPU), uint64(s.Memory), uint64(s.PIDs), math.Float64bits(s.Received), math.Float64bits(s.Sent), uint64(s.Disk)} {
		b = binary.BigEndian.AppendUint64(b, v)
	}
	place := s.At.Unix() / int64(coarseEvery/time.Second) % coarseKept
	_, err = f.WriteAt(b, place*sampleBytes)
	return errors.Join(err, f.Close())
}

// readSamples are those of a file that are of the last week, oldest first.
func readSamples(file string, now time.Time) []Sample {
	f, err := os.Open(file)
	if err != nil {
		return nil
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, coarseKept*sampleBytes))
	if err != nil {
		return nil
	}
	var out []Sample
	for ; len(data) >= sampleBytes; data = data[sampleBytes:] {
		v := func(i int) uint64 { return binary.BigEndian.Uint64(data[8*i:]) }
		at := time.Unix(0, int64(v(0))).UTC()
		if age := now.Sub(at); v(0) == 0 || age < 0 || age > coarseKept*coarseEvery {
			continue
		}
		out = append(out, Sample{At: at, CPU: math.Float64frombits(v(1)), Memory: int64(v(2)), PIDs: int64(v(3)), Received: math.Float64frombits(v(4)), Sent: math.Float64frombits(v(5)), Disk: int64(v(6))})
	}
	slices.SortFunc(out, func(a, b Sample) int { return a.At.Compare(b.At) })
	return out
}

// Series are the samples of an app, oldest first: means over five minutes, and for the last hour all of them.
func (k *Keeper) Series(app string) []Sample {
	old := readSamples(k.seriesFile(app), k.cfg.Now())
	k.mu.Lock()
	defer k.mu.Unlock()
	fine := slices.Clone(k.book(app).series.fine)
	if len(fine) > 0 {
		old = slices.DeleteFunc(old, func(s Sample) bool { return !s.At.Before(fine[0].At) })
	}
	return append(old, fine...)
}
