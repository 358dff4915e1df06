#!/usr/bin/env bash
# Runs platformd on a Debian 12 machine that boots: systemd, journald, sshd and kernel 6.1, emulated by qemu, so that it needs
# no hardware for that. Prints a table and writes docs/e2e.md. The machine is made once (image.sh) and booted from a copy
# that is thrown away. LEAKS=0 leaves the long search for leaks out.
set -euo pipefail
cd "$(dirname "$0")/../.."
go=${GO:-go}
image=$PWD/.cache/e2e
work=$(mktemp -d)
here=scripts/e2e
qemu=
stop() {
    [ -z "$qemu" ] || kill "$qemu" 2>/dev/null || true
    rm -rf "$work"
}
trap stop EXIT

export CGO_ENABLED=0
$here/image.sh "$image"
mkdir -p "$work/guest/packaging"
$go build -trimpath -o "$work/guest/" ./cmd/platformd ./cmd/platformctl
for driver in nft iptables; do $go test -c -o "$work/guest/$driver.test" ./firewall/$driver; done
cp packaging/systemd/* $here/guest.sh $here/witness.service "$work/guest/"

# The port is free now; who takes it meanwhile makes the run fail, not lie.
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
TMPDIR=$work qemu-system-x86_64 -name platform-e2e -M pc,usb=off -accel tcg,thread=multi,tb-size=512 -cpu max -m 2048 -smp 2 \
    -nodefaults -no-user-config -display none -serial "file:$work/console.log" \
    -kernel "$image/vmlinux" -initrd "$image/initrd" \
    -append 'console=ttyS0 root=/dev/vda rw quiet net.ifnames=0 mitigations=off tsc=reliable no_timer_check random.trust_cpu=on panic=1' \
    -drive "file=$image/disk.raw,format=raw,if=virtio,snapshot=on,cache=unsafe" -device virtio-rng-pci \
    -netdev "user,id=n,hostfwd=tcp:127.0.0.1:$port-:22" -device virtio-net-pci,netdev=n,romfile= &
qemu=$!

# One connection for all commands: more than a few a second would meet the limit that is being tested.
connect=(ssh -q -i "$image/key" -p "$port" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o BatchMode=yes
    -o ServerAliveInterval=15 -o ServerAliveCountMax=20 -o ControlMaster=auto -o "ControlPath=$work/ssh" -o ControlPersist=yes -o ConnectTimeout=10 root@127.0.0.1)
in_guest() { "${connect[@]}" -- "$@"; }
boots() {
    for _ in $(seq 100); do
        ! in_guest systemctl is-system-running --wait >/dev/null </dev/null || return 0
        # "degraded" is booted too, and something of the machine's own.
        ! in_guest true </dev/null || return 0
        kill -0 $qemu 2>/dev/null || break
        sleep 3
    done
    tail -20 "$work/console.log" >&2
    echo "the machine does not answer" >&2
    return 1
}
boots
tar -C "$work/guest" -c . | in_guest 'mkdir -p /srv/e2e && tar -C /srv/e2e -x --no-same-owner'

failed=0
part() { # part NAME: what guest.sh prints on its last lines are rows
    in_guest "bash /srv/e2e/guest.sh $1" </dev/null | tee -a "$work/rows" || failed=1
}
part install
part bans
part kill
in_guest 'systemctl reboot' </dev/null || true
ssh -q -o "ControlPath=$work/ssh" -O exit x 2>/dev/null || true
sleep 5
boots
part boot
part proxy
part apps
part sandbox
[ "${LEAKS:-1}" = 0 ] || { part leaks-nft; part leaks-iptables; }

kernel=$(in_guest uname -r </dev/null)
{
    echo "# End to end"
    echo
    echo "Printed by \`make e2e\` on $(date -u +%F): Debian 12 with systemd in an emulated machine, kernel $kernel."
    echo
    echo "| what | holds | seen |"
    echo "|---|---|---|"
    grep '^|' "$work/rows"
} >"$work/e2e.md"
cat "$work/e2e.md"
if [ $failed = 0 ] && ! grep -q '| \*\*no\*\* |' "$work/rows"; then
    [ "${LEAKS:-1}" = 0 ] || cp "$work/e2e.md" docs/e2e.md
    exit 0
fi
echo "something does not hold" >&2
exit 1
