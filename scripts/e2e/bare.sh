#!/usr/bin/env bash
# Tries the two commands of the README in a Debian 12 that has nothing but git, make and certificates, with this machine's Go and
# module cache: does `make run` bring what it needs, and `make test` what its tests need? It runs in mount and process
# namespaces of its own; the network is this machine's, because packages are fetched, and the tests make their own.
# PACKAGES are those whose tests are run.
set -euo pipefail
cd "$(dirname "$0")/../.."
packages=${PACKAGES:-./internal/activity ./firewall/nft ./cmd/platformd}
gotool=${GO:-go}
go=$("$gotool" env GOROOT)
modules=$("$gotool" env GOMODCACHE)
built=$("$gotool" env GOCACHE)
if [ "${1:-}" != inside ]; then
    root=$(mktemp -d)
    trap 'rmdir "$root"' EXIT
    unshare --mount --pid --fork --kill-child "$0" inside "$root"
    exit
fi

root=$2
mount -t tmpfs -o size=6g tmpfs "$root" # goes with the mount namespace
mkdir "$root/system"
system=$root/system
sources=(/etc/apt/sources.list.d/debian.sources)
[ -e "${sources[0]}" ] || sources=(/etc/apt/sources.list)
options=()
for f in /etc/apt/apt.conf.d/99*; do [ ! -e "$f" ] || options+=(--aptopt="$f"); done
mmdebstrap --quiet --mode=root --variant=minbase --include=git,make,ca-certificates "${options[@]}" bookworm "$system" "${sources[@]}"
cp /etc/resolv.conf /etc/hosts "$system/etc/"
cp /usr/local/share/ca-certificates/*.crt "$system/usr/local/share/ca-certificates/" 2>/dev/null && chroot "$system" update-ca-certificates >/dev/null

mount --bind "$system" "$system" # / must be a mount, as it is on a machine
git -c safe.directory="$PWD" clone --quiet . "$system/src"
mkdir -p "$system/usr/local/go"
mount --bind -o ro "$go" "$system/usr/local/go"
for dir in "$modules" "$built"; do # at the same place, so that what was built here is found there
    over=$(mktemp -d -p "$root")
    mkdir -p "$system$dir" "$over/upper" "$over/work"
    mount -t overlay -o "lowerdir=$dir,upperdir=$over/upper,workdir=$over/work" overlay "$system$dir"
done
mount -t proc proc "$system/proc"
mount -t sysfs -o ro sysfs "$system/sys"
mount -t devtmpfs devtmpfs "$system/dev" && mkdir -p "$system/dev/pts" && mount -t devpts devpts "$system/dev/pts"
# The hierarchies of control groups as this machine has them: engines of tests make groups of their own there.
grep -E ' cgroup2? ' /proc/self/mounts | while read -r _ at kind options _; do
    case $at in /sys/fs/cgroup*) ;; *) continue ;; esac
    [ "$at" = /sys/fs/cgroup ] || [ -d "$system/sys/fs/cgroup/${at##*/}" ] || { mountpoint -q "$system/sys/fs/cgroup" || mount -t tmpfs tmpfs "$system/sys/fs/cgroup"; mkdir -p "$system$at"; }
    options=$(tr ',' '\n' <<<"$options" | { grep -vE '^(rw|ro|nosuid|nodev|noexec|relatime)$' || true; } | paste -sd,)
    mount -t "$kind" ${options:+-o "$options"} cgroup "$system$at"
done
mount -t tmpfs tmpfs "$system/run"
mount -t tmpfs -o mode=1777 tmpfs "$system/tmp"

# Its root becomes that of the namespace: in a chroot a program would not find itself by /proc/self/exe.
inside() { # as root types it, with nothing of this shell's environment but where packages come from
    env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 GOMODCACHE="$modules" GOCACHE="$built" GOTOOLCHAIN=local \
        "GOPROXY=$("$gotool" env GOPROXY)" "GOSUMDB=$("$gotool" env GOSUMDB)" ${http_proxy:+http_proxy="$http_proxy"} ${https_proxy:+https_proxy="$https_proxy"} \
        unshare --mount /bin/sh -c 'cd "$0" && mkdir -p .host && pivot_root . .host && cd / && umount -l /.host && exec /bin/sh -c "cd /src && $1"' "$system" "$1"
}
echo "== make run, once"
inside 'ONCE=1 make run'
echo "== make test: what it installs"
inside 'make deps build'
echo "== tests of $packages"
inside "CGO_ENABLED=0 go version 2>/dev/null || PATH=\$PATH:/usr/local/go/bin; export PATH CGO_ENABLED=0; go test -count=1 -p 1 $packages"
echo "everything works on a bare Debian"
