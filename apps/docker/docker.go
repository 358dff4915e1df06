// Package docker is the driver of apps for Docker Engine (API 1.41 or later; the version is negotiated).
//
// The model in words. Everything that is made here carries the label platform.app, and nothing without it is ever listed,
// changed or removed. A container carries the digest of the apps.Container that it was made from, so that one listing says
// whether it is as it should be. How a container is confined is written in one place (hostConfig) and cannot be asked for
// otherwise: a read-only root, no capabilities but those of a short list, no new privileges, a filter of system calls that
// is tighter than the engine's own, limits, its own network.
//
// Types of the engine's library never leave this package.
package docker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/client"

	"github.com/platformd/platformd/apps"
)

// Labels of everything that is made here.
const (
	labelApp    = "platform.app"
	labelRole   = "platform.role"
	labelSlot   = "platform.slot"
	labelDigest = "platform.digest"
)

// oldestAPI is that of Docker 20.10.
const oldestAPI = "1.41"

// ErrUnreachable: no engine answers.
var ErrUnreachable = errors.New("the container engine does not answer")

// Config of an Engine.
type Config struct {
	// Host is as DOCKER_HOST: "unix:///var/run/docker.sock". Only unix sockets are reached.
	Host string
	// Folder is where the data of all apps is.
	Folder string
}

// Engine is one Docker Engine. Its methods are safe for concurrent use.
type Engine struct {
	cfg     Config
	api     *client.Client
	seccomp string
	cpus    atomic.Int64 // of the engine, once it has said so
}

// New makes an Engine that has not connected yet.
func New(cfg Config) (*Engine, error) {
	if !strings.HasPrefix(cfg.Host, "unix://") {
		return nil, fmt.Errorf("docker host %q: must be a unix socket, for example unix:///var/run/docker.sock", cfg.Host)
	}
	api, err := client.NewClientWithOpts(client.WithHost(cfg.Host), client.WithAPIVersionNegotiation())
	if err != nil {
		return nil, err
	}
	profile, err := seccompProfile()
	if err != nil {
		return nil, err
	}
	return &Engine{cfg: cfg, api: api, seccomp: profile}, nil
}

// Close lets connections go.
func (e *Engine) Close() error { return e.api.Close() }

// Info is what an engine can do.
type Info struct {
	Version    string
	APIVersion string
	CPUs       int
	Memory     int64
	// AppArmor, Seccomp and UserNS are what it confines containers with.
	AppArmor, Seccomp, UserNS bool
	// Root is where it keeps its data, which userns-remap makes a folder of its own.
	Root string
}

// Info asks the engine what it is, and refuses one that is too old.
func (e *Engine) Info(ctx context.Context) (Info, error) {
	in, err := e.api.Info(ctx)
	if err != nil {
		return Info{}, failed("ask the engine", err)
	}
	out := Info{Version: in.ServerVersion, APIVersion: e.api.ClientVersion(), CPUs: in.NCPU, Memory: in.MemTotal, Root: in.DockerRootDir}
	for _, o := range in.SecurityOptions {
		parts := strings.Split(o, ",")
		out.AppArmor = out.AppArmor || slices.Contains(parts, "name=apparmor")
		out.Seccomp = out.Seccomp || slices.Contains(parts, "name=seccomp")
		out.UserNS = out.UserNS || slices.Contains(parts, "name=userns")
	}
	if older(out.APIVersion, oldestAPI) {
		return out, fmt.Errorf("the container engine %s speaks API %s; %s is needed (Docker 20.10): upgrade it", out.Version, out.APIVersion, oldestAPI)
	}
	return out, nil
}

// processors is how many the engine may give to a container. It is asked once: the answer takes longer than making one.
func (e *Engine) processors(ctx context.Context) (float64, error) {
	if n := e.cpus.Load(); n > 0 {
		return float64(n), nil
	}
	info, err := e.Info(ctx)
	e.cpus.Store(int64(info.CPUs))
	return float64(info.CPUs), err
}

// older compares two versions of the form "1.41".
func older(a, b string) bool {
	var a1, a2, b1, b2 int
	_, _ = fmt.Sscanf(a, "%d.%d", &a1, &a2)
	_, _ = fmt.Sscanf(b, "%d.%d", &b1, &b2)
	return a1 < b1 || a1 == b1 && a2 < b2
}

// failed names what was tried, and marks what callers branch on.
func failed(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case client.IsErrConnectionFailed(err):
		return fmt.Errorf("%s: %w: %w", what, ErrUnreachable, err)
	case errdefs.IsNotFound(err):
		return fmt.Errorf("%s: %w: %w", what, apps.ErrNotThere, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}

// gone is nil where what was to be removed is not there.
func gone(err error) error {
	if errdefs.IsNotFound(err) {
		return nil
	}
	return err
}
