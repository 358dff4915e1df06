package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/docker/docker/api/types/image"

	"github.com/platformd/platformd/apps"
)

// Image is what is in the engine's store.
type Image struct {
	ID   string
	User string
	// Size is in bytes.
	Size int64
}

// Image finds an image by reference or ID; apps.ErrNotThere where it is not in the store.
func (e *Engine) Image(ctx context.Context, ref string) (Image, error) {
	i, err := e.api.ImageInspect(ctx, ref)
	if err != nil {
		return Image{}, failed("image "+ref, err)
	}
	out := Image{ID: i.ID, Size: i.Size}
	if i.Config != nil {
		out.User = i.Config.User
	}
	return out, nil
}

// pullLine is one line of the engine's report on a pull.
type pullLine struct {
	ID       string `json:"id"`
	Status   string `json:"status"`
	Progress struct {
		Current int64 `json:"current"`
		Total   int64 `json:"total"`
	} `json:"progressDetail"`
	Error string `json:"error"`
}

// Pull fetches an image. progress is told how many bytes of how many are there; the total grows while layers are found.
func (e *Engine) Pull(ctx context.Context, ref string, progress func(done, total int64)) error {
	r, err := e.api.ImagePull(ctx, ref, image.PullOptions{})
	if err != nil {
		return failed("pull "+ref, err)
	}
	defer r.Close()
	layers := map[string]pullLine{}
	for dec := json.NewDecoder(r); ; {
		var l pullLine
		if err := dec.Decode(&l); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return failed("pull "+ref, err)
		}
		if l.Error != "" {
			return fmt.Errorf("pull %s: %s", ref, l.Error)
		}
		if l.ID == "" || l.Status != "Downloading" {
			continue
		}
		layers[l.ID] = l
		var done, total int64
		for _, l := range layers {
			done, total = done+l.Progress.Current, total+l.Progress.Total
		}
		progress(done, total)
	}
}

// Load puts the images of a tar archive (docker save) into the store.
func (e *Engine) Load(ctx context.Context, r io.Reader) error {
	resp, err := e.api.ImageLoad(ctx, r)
	if err != nil {
		return failed("load image", err)
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	return err
}

// check that the driver is what the daemon thinks it is.
var _ apps.Engine = (*Engine)(nil)
