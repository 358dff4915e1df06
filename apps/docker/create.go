package docker

import (
	"context"
	"fmt"
	"strconv"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/api/types/network"
	"github.com/docker/go-connections/nat"
	"github.com/docker/go-units"

	"github.com/platformd/platformd/apps"
)

// Create makes a container. It does not start it.
func (e *Engine) Create(ctx context.Context, c *apps.Container) error {
	cfg := &container.Config{
		Image: c.ImageID, Entrypoint: c.Entrypoint, Cmd: c.Command, User: c.User, Env: c.Env, Hostname: c.Hostname,
		Labels:       map[string]string{labelApp: c.App, labelRole: c.Role, labelSlot: c.Slot, labelDigest: c.Digest()},
		ExposedPorts: nat.PortSet{},
		// What the image says of health is not asked: the host looks from outside.
		StopSignal: c.StopSignal, StopTimeout: &c.StopGrace,
		Healthcheck: &container.HealthConfig{Test: []string{"NONE"}},
	}
	host, err := e.hostConfig(ctx, c)
	if err != nil {
		return err
	}
	for p := range host.PortBindings {
		cfg.ExposedPorts[p] = struct{}{}
	}
	endpoint := &network.EndpointSettings{IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: c.V4.String(), IPv6Address: c.V6.String()}}
	if c.Role != apps.RoleApp {
		endpoint.Aliases = []string{c.Role}
	}
	nets := &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{c.Network: endpoint}}
	_, err = e.api.ContainerCreate(ctx, cfg, host, nets, nil, c.Name)
	return failed("create container "+c.Name, err)
}

// hostConfig is how every container is confined.
func (e *Engine) hostConfig(ctx context.Context, c *apps.Container) (*container.HostConfig, error) {
	cpus, err := e.processors(ctx)
	if err != nil {
		return nil, err
	}
	pids, memory, yes := int64(c.Limits.PIDs), int64(c.Limits.Memory), true
	h := &container.HostConfig{
		ReadonlyRootfs: !c.Writable,
		Privileged:     false,
		Init:           &yes, // hands signals on, and takes dead children away
		CapDrop:        []string{"ALL"},
		CapAdd:         c.Capabilities,
		SecurityOpt:    []string{"no-new-privileges:true", "seccomp=" + e.seccomp},
		NetworkMode:    container.NetworkMode(c.Network),
		IpcMode:        container.IPCModePrivate,
		CgroupnsMode:   container.CgroupnsModePrivate,
		RestartPolicy:  container.RestartPolicy{Name: container.RestartPolicyDisabled},
		ShmSize:        int64(c.Limits.Shm),
		Tmpfs:          map[string]string{},
		LogConfig:      container.LogConfig{Type: "local", Config: map[string]string{"max-size": "10m", "max-file": "3"}},
		PortBindings:   nat.PortMap{},
		Resources: container.Resources{
			Memory: memory, MemorySwap: memory, // the same: no swap
			PidsLimit: &pids, NanoCPUs: int64(min(c.Limits.CPUs, cpus) * 1e9),
			Ulimits: []*units.Ulimit{{Name: "nofile", Soft: int64(c.Limits.Files), Hard: int64(c.Limits.Files)}, {Name: "core", Soft: 0, Hard: 0}},
		},
	}
	if c.Profile != "" {
		h.SecurityOpt = append(h.SecurityOpt, "apparmor="+c.Profile)
	}
	for _, t := range c.Tmpfs {
		exec := "noexec"
		if t.Exec {
			exec = "exec"
		}
		h.Tmpfs[t.Path] = fmt.Sprintf("rw,nosuid,nodev,%s,size=%d,mode=%s", exec, t.Size, t.Mode)
	}
	for _, m := range c.Mounts {
		h.Mounts = append(h.Mounts, mount.Mount{Type: mount.TypeVolume, Source: m.Volume, Target: m.Path, VolumeOptions: &mount.VolumeOptions{NoCopy: true}})
	}
	for _, a := range c.DNS {
		h.DNS = append(h.DNS, a.String())
	}
	for _, p := range c.Publish {
		port := nat.Port(strconv.Itoa(int(p.Container)) + "/" + p.Protocol)
		h.PortBindings[port] = append(h.PortBindings[port], nat.PortBinding{HostPort: strconv.Itoa(int(p.Host))})
	}
	return h, nil
}

// Start starts a container.
func (e *Engine) Start(ctx context.Context, name string) error {
	return failed("start container "+name, e.api.ContainerStart(ctx, name, container.StartOptions{}))
}

// Stop ends a container: it is asked to, and after its grace time made to.
func (e *Engine) Stop(ctx context.Context, name string) error {
	return failed("stop container "+name, gone(e.api.ContainerStop(ctx, name, container.StopOptions{})))
}

// Remove removes a container and what was written into it, and no volume with a name.
func (e *Engine) Remove(ctx context.Context, name string) error {
	return failed("remove container "+name, gone(e.api.ContainerRemove(ctx, name, container.RemoveOptions{Force: true, RemoveVolumes: true})))
}
