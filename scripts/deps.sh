#!/usr/bin/env bash
# Installs the Debian packages that are missing for "run", "test", "bench" or "e2e". It looks for what they bring, not for their
# names, so that a machine with another Docker is left alone. It never starts a service.
set -euo pipefail

want() { # want PACKAGE PROBE: a probe with a slash at its start is a file, any other is a program
    case $2 in
    /*) [ -e "$2" ] ;;
    *) PATH=$PATH:/usr/sbin:/sbin command -v "$2" >/dev/null ;;
    esac || missing+=("$1")
}

missing=()
case ${1:-} in
run)
    want tor-geoipdb /usr/share/tor/geoip
    ;;
test | bench)
    want tor-geoipdb /usr/share/tor/geoip
    want nftables nft # the daemon does without; tests look at the kernel with it
    want iptables iptables-restore
    want ipset ipset
    want iproute2 ip
    want busybox-static busybox # the image that Docker tests run
    want openssh-server sshd # its failed logins are read
    want openssh-client ssh
    want rsyslog rsyslogd
    want systemd systemd-analyze # packaging/systemd is shown to it
    want systemd-journal-remote /lib/systemd/systemd-journal-remote # makes a journal to read
    want knot knotd # takes updates of a zone, for certificates by DNS
    want openssl openssl # makes what operators import
    want docker.io dockerd
    want docker-registry docker-registry # images are pulled from it
    want apparmor apparmor_parser # compiles the profiles of apps
    want nodejs node # runs http-cache-tests
    want npm npm     # and brings it
    # What the proxy is held up to: servers behind it, clients in front of it, and attackers.
    want nginx-light nginx
    want haproxy haproxy # reads PROXY headers
    want apache2-bin apache2
    want gunicorn gunicorn
    want curl curl
    want wget wget
    want nghttp2-client h2load
    want ngtcp2-client gtlsclient
    want chromium chromium
    want slowhttptest slowhttptest
    want testssl.sh testssl
    want bsdextrautils hexdump # testssl.sh needs it
    if [ "$1" = bench ]; then
        want firewalld firewalld
        want dbus dbus-daemon # firewalld is started with a bus of its own
        want conntrack conntrack
        want nginx-light nginx # peers of the proxy, and what puts load on them
        want wrk wrk
        want nghttp2-client h2load
    fi
    ;;
e2e)
    want mmdebstrap mmdebstrap
    want qemu-system-x86 qemu-system-x86_64
    want openssh-client ssh
    want python3 python3
    want lz4 lz4
    ;;
*)
    echo "usage: $0 run|test|bench|e2e" >&2
    exit 2
    ;;
esac
[ ${#missing[@]} -gt 0 ] || exit 0

by_hand="apt-get install --no-install-recommends ${missing[*]}"
if ! command -v apt-get >/dev/null; then
    echo "missing here: ${missing[*]} (names of Debian packages). Install them with this system's package manager, then try again." >&2
    exit 1
fi
if [ "$(id -u)" != 0 ]; then
    echo "missing packages, and only root can install them: sudo $by_hand" >&2
    exit 1
fi

# A package that is installed here must not start its service: Debian asks policy-rc.d(8) first.
policy=/usr/sbin/policy-rc.d
put_back=:
if ! { [ -x $policy ] && { $policy any start >/dev/null 2>&1; [ $? = 101 ]; }; }; then
    kept=$policy.before-platform
    if [ -e $policy ]; then
        mv $policy $kept
        put_back="mv $kept $policy"
    else
        put_back="rm -f $policy"
    fi
    trap '$put_back' EXIT
    trap 'exit 130' INT TERM HUP
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod 755 $policy
fi

echo "installing: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get -q -o Dpkg::Use-Pty=0 update >/dev/null
apt-get -q -o Dpkg::Use-Pty=0 install -y --no-install-recommends "${missing[@]}" >/dev/null

# Nor at the next boot: it was installed for tests, which start one of their own.
if [ -d /run/systemd/system ]; then
    for package in "${missing[@]}"; do
        case $package in
        docker.io) services="docker.service docker.socket" ;;
        docker-registry) services=docker-registry.service ;;
        openssh-server) services="ssh.service ssh.socket" ;;
        rsyslog) services="rsyslog.service syslog.socket" ;;
        knot) services=knot.service ;;
        nginx-light) services=nginx.service ;;
        firewalld) services=firewalld.service ;;
        nginx-light) services=nginx.service ;;
        haproxy) services=haproxy.service ;;
        *) continue ;;
        esac
        for service in $services; do
            systemctl disable --quiet "$service" 2>/dev/null || true
        done
    done
fi
