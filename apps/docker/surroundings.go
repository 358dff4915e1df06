package docker

import (
	"context"
	"path/filepath"

	"github.com/docker/docker/api/types/network"
	"github.com/docker/docker/api/types/volume"

	"github.com/platformd/platformd/apps"
)

// MakeNetwork makes an app's own bridge.
func (e *Engine) MakeNetwork(ctx context.Context, n *apps.Network) error {
	six := true
	_, err := e.api.NetworkCreate(ctx, n.Name, network.CreateOptions{
		Driver: "bridge", EnableIPv6: &six, Labels: map[string]string{labelApp: n.App},
		IPAM: &network.IPAM{Config: []network.IPAMConfig{
			{Subnet: n.V4.String(), Gateway: n.V4.Addr().Next().String()},
			{Subnet: n.V6.String(), Gateway: n.V6.Addr().Next().String()},
		}},
		Options: map[string]string{"com.docker.network.bridge.name": n.Bridge},
	})
	return failed("make network "+n.Name, err)
}

// RemoveNetwork removes a network.
func (e *Engine) RemoveNetwork(ctx context.Context, name string) error {
	return failed("remove network "+name, gone(e.api.NetworkRemove(ctx, name)))
}

// MakeVolume gives a folder of the host a name, under which containers see it. The folder is the caller's to make, on a mount
// without devices and setuid: flags among the options of a local volume would be ignored (Docker 20.10).
func (e *Engine) MakeVolume(ctx context.Context, v *apps.Volume) error {
	_, err := e.api.VolumeCreate(ctx, volume.CreateOptions{
		Name: v.Name, Driver: "local", Labels: map[string]string{labelApp: v.App},
		DriverOpts: map[string]string{"type": "none", "o": "bind", "device": filepath.Join(e.cfg.Folder, v.Folder)},
	})
	return failed("make volume "+v.Name, err)
}

// RemoveVolume takes the name away. The folder stays.
func (e *Engine) RemoveVolume(ctx context.Context, name string) error {
	return failed("remove volume "+name, gone(e.api.VolumeRemove(ctx, name, false)))
}
