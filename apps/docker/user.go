package docker

import (
	"archive/tar"
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/docker/docker/api/types/container"
)

// nobodyInParticular is whom an app runs as whose image says root or nothing.
const nobodyInParticular = "10001:10001"

// maxPasswd bounds what is read of an image's users.
const maxPasswd = 1 << 20

// User is the numeric UID:GID that a container of an image runs as: what is wished for, else what the image says, and never
// root.
func (e *Engine) User(ctx context.Context, i Image, wish string) (string, error) {
	name := wish
	if name == "" {
		name = i.User
	}
	user, group, hasGroup := strings.Cut(name, ":")
	uid, err := strconv.ParseUint(user, 10, 31)
	switch {
	case user == "" || user == "root" || err == nil && uid == 0:
		return nobodyInParticular, nil
	case err == nil && !hasGroup:
		return user + ":" + user, nil
	case err == nil:
		if gid, err := strconv.ParseUint(group, 10, 31); err == nil {
			return fmt.Sprintf("%d:%d", uid, gid), nil
		}
	}
	passwd, err := e.peek(ctx, i.ID, "/etc/passwd")
	if err != nil {
		return "", fmt.Errorf("find user %q of the image: %w", name, err)
	}
	if found := lookUp(passwd, user); found != "" && !strings.HasPrefix(found, "0:") {
		return found, nil
	}
	return "", fmt.Errorf("the image runs as user %q, which is root or not in its /etc/passwd; write user: UID:GID into the manifest", name)
}

// lookUp finds "UID:GID" of a user by name or number in passwd(5).
func lookUp(passwd, user string) string {
	for s := bufio.NewScanner(strings.NewReader(passwd)); s.Scan(); {
		f := strings.Split(s.Text(), ":")
		if len(f) < 4 || f[0] != user && f[2] != user {
			continue
		}
		uid, err1 := strconv.ParseUint(f[2], 10, 31)
		gid, err2 := strconv.ParseUint(f[3], 10, 31)
		if errors.Join(err1, err2) == nil {
			return fmt.Sprintf("%d:%d", uid, gid)
		}
	}
	return ""
}

// peek reads one file of an image, by way of a container that is never started.
func (e *Engine) peek(ctx context.Context, imageID, path string) (string, error) {
	c, err := e.api.ContainerCreate(ctx, &container.Config{Image: imageID, Entrypoint: []string{"/nothing"}}, &container.HostConfig{NetworkMode: "none"}, nil, nil, "platform-peek-"+rand.Text())
	if err != nil {
		return "", failed("look into the image", err)
	}
	defer func() {
		_ = e.api.ContainerRemove(context.WithoutCancel(ctx), c.ID, container.RemoveOptions{Force: true, RemoveVolumes: true})
	}()
	r, _, err := e.api.CopyFromContainer(ctx, c.ID, path)
	if err != nil {
		return "", failed("read "+path+" of the image", err)
	}
	defer r.Close()
	t := tar.NewReader(io.LimitReader(r, 2*maxPasswd))
	h, err := t.Next()
	if err != nil || h.Typeflag != tar.TypeReg {
		return "", fmt.Errorf("read %s of the image: it is not a file", path)
	}
	b, err := io.ReadAll(io.LimitReader(t, maxPasswd))
	return string(b), err
}
