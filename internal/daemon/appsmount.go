package daemon

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/internal/health"
)

// dataFlags are what the data of apps is mounted with: no devices, and setuid means nothing (mount(2)).
const dataFlags = unix.MS_NODEV | unix.MS_NOSUID

// guardData sees to it that the folder of apps' data is a mount with dataFlags. A volume is a bind mount of a folder below
// it, and has the flags of the mount that it was taken from: Docker's local volumes ignore those that are named in their
// options. Where this process has mounts of its own, which the engine does not see, a unit of systemd has to make it.
func (d *Daemon) guardData() error {
	dir := appsDir(d.cfg.DataDir)
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return fmt.Errorf("make the folder of apps: %w", err)
	}
	guarded, err := hasFlags(dir)
	if err == nil && !guarded && !seesMounts(strings.TrimPrefix(d.cfg.DockerHost, "unix://")) {
		d.health.Set(health.Condition{ID: "apps-data", Severity: health.Warning, Message: dir + " is not mounted with nodev and nosuid, as the data of apps should be",
			Remedy: "systemctl start var-lib-platform-apps.mount, or mount it there yourself: mount --bind, then remount,bind,nodev,nosuid"})
		return nil
	}
	d.health.Clear("apps-data")
	if err != nil || guarded {
		return err
	}
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount the folder of apps: %w", err)
	}
	if err := unix.Mount("", dir, "", unix.MS_BIND|unix.MS_REMOUNT|dataFlags, ""); err != nil {
		return errors.Join(fmt.Errorf("mount the folder of apps without devices and setuid: %w", err), unix.Unmount(dir, unix.MNT_DETACH))
	}
	return nil
}

// hasFlags reports whether what is at path is mounted with dataFlags.
func hasFlags(path string) (bool, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return false, fmt.Errorf("look at the mount of %s: %w", path, err)
	}
	const want = unix.ST_NODEV | unix.ST_NOSUID
	return st.Flags&want == want, nil
}

// seesMounts reports whether whoever listens on a unix socket has the same view of mounts as this process; a sandbox of
// systemd gives it another one.
func seesMounts(socket string) bool {
	c, err := net.Dial("unix", socket)
	if err != nil {
		return false
	}
	defer c.Close()
	raw, err := c.(*net.UnixConn).SyscallConn()
	if err != nil {
		return false
	}
	var peer *unix.Ucred
	var peerErr error
	err = raw.Control(func(fd uintptr) { peer, peerErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if errors.Join(err, peerErr) != nil {
		return false
	}
	own, err1 := os.Readlink("/proc/self/ns/mnt")
	theirs, err2 := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", peer.Pid))
	return errors.Join(err1, err2) == nil && own == theirs
}
