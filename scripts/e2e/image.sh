#!/usr/bin/env bash
# Makes the machine of the end-to-end run in directory $1, unless it is there: Debian 12 with its own kernel, systemd and
# sshd, and no platformd. disk.raw is its file system, vmlinux and initrd boot it, key logs in as root.
set -euo pipefail
dir=$(realpath -m "$1")
suite=bookworm
packages=systemd,systemd-sysv,dbus,udev,kmod,libpam-systemd,linux-image-amd64,apparmor,nftables,iptables,ipset,iproute2,openssh-server,openssh-client,procps,busybox-static,curl,docker.io
made_from="$(sha256sum "$0" | cut -c1-16)"
[ "$(cat "$dir/made-from" 2>/dev/null)" != "$made_from" ] || exit 0
rm -rf "$dir"
mkdir -p "$dir"
root=$dir/root

# The machine that builds knows where its packages come from; so mmdebstrap is given its sources and options.
sources=(/etc/apt/sources.list.d/debian.sources)
[ -e "${sources[0]}" ] || sources=(/etc/apt/sources.list)
options=()
for f in /etc/apt/apt.conf.d/99*; do [ ! -e "$f" ] || options+=(--aptopt="$f"); done
mmdebstrap --quiet --mode=root --variant=minbase --include="$packages" "${options[@]}" --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    "$suite" "$root" "${sources[@]}"

ssh-keygen -q -t ed25519 -N '' -C e2e -f "$dir/key"
install -D -m 600 "$dir/key.pub" "$root/root/.ssh/authorized_keys"
echo e2e >"$root/etc/hostname"
printf '127.0.0.1 localhost\n::1 localhost\n127.0.1.1 e2e\n' >"$root/etc/hosts"
echo '/dev/vda / ext4 defaults 0 0' >"$root/etc/fstab"
cat >"$root/etc/systemd/network/eth0.network" <<'END'
[Match]
Name=eth0
[Network]
Address=10.0.2.15/24
Gateway=10.0.2.2
END
mkdir -p "$root/var/log/journal"
# nftables.service empties the ruleset at boot: the worst neighbour that Debian has.
chroot "$root" systemctl --quiet enable systemd-networkd ssh nftables
# It is started where apps are looked at; what comes before is about a host without it.
chroot "$root" systemctl --quiet disable docker.service docker.socket containerd.service
chroot "$root" systemctl --quiet mask systemd-networkd-wait-online.service apt-daily.timer apt-daily-upgrade.timer fstrim.timer dpkg-db-backup.timer e2scrub_all.timer getty@tty1.service

# The kernel as an ELF file, which qemu starts by PVH without unpacking it by emulation; Debian packs it with xz or lz4.
version=$(ls "$root/usr/lib/modules")
scripts=$(dirname "$(realpath "$0")")
python3 "$scripts/unpack.py" "$root/boot/vmlinuz-$version" "$dir/vmlinux"
init=$dir/initrd.d
mkdir -p "$init"/{bin,mod,proc,dev,root}
cp "$root/bin/busybox" "$init/bin/"
for module in virtio_pci virtio_blk ext4; do chroot "$root" modprobe -S "$version" --show-depends $module; done |
    awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >"$init/mod/order"
while read -r module; do cp "$root$module" "$init/mod/"; done <"$init/mod/order"
cat >"$init/init" <<'END'
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t devtmpfs dev /dev
while read -r module; do /bin/busybox insmod "/mod/${module##*/}"; done </mod/order
until [ -b /dev/vda ]; do /bin/busybox sleep 0.1; done
/bin/busybox mount -t ext4 /dev/vda /root
/bin/busybox umount /proc
/bin/busybox mount -o move /dev /root/dev
exec /bin/busybox switch_root /root /sbin/init
END
chmod +x "$init/init"
(cd "$init" && find . | "$root/bin/busybox" cpio -o -H newc 2>/dev/null) >"$dir/initrd"

mke2fs -q -t ext4 -E root_owner=0:0 -d "$root" "$dir/disk.raw" 4G
rm -rf "$root" "$init"
echo "$made_from" >"$dir/made-from"
