#!/usr/bin/env bash
# Runs inside the machine of run.sh. Each part prints rows: what is shown, whether it holds, and what was seen.
set -uo pipefail
cd /srv/e2e

row() { # row WHAT STATUS SEEN
    local holds=yes
    [ "$2" = 0 ] || holds='**no**'
    echo "| $1 | $holds | $(echo "$3" | tr '\n|' ' /' | cut -c1-300) |"
}

# check WHAT COMMAND...: the last line that it prints is what was seen.
check() {
    local what=$1 out status
    shift
    out=$("$@" 2>&1)
    status=$?
    [ $status = 0 ] || { echo "$what:"; echo "$out"; [ "$1" != unit ] || journalctl -u "$2" -n 20 --no-pager; } >&2
    row "$what" $status "$(echo "$out" | tail -1)"
}

until_true() { # until_true SECONDS COMMAND...
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || return 1
        sleep 0.2
    done
}

rules() { nft list table inet platform | grep -c 'hook prerouting'; }

put_in_place() {
    install -m 755 platformd platformctl /usr/bin/
    install -m 644 platformd.service platformd-firewall.service var-lib-platform-apps.mount witness.service /etc/systemd/system/
    install -m 644 sysusers.conf /usr/lib/sysusers.d/platform.conf
    install -m 644 tmpfiles.conf /usr/lib/tmpfiles.d/platform.conf
    install -m 644 sysctl.conf /usr/lib/sysctl.d/60-platform.conf
    install -m 644 modules-load.conf /usr/lib/modules-load.d/platform.conf
    systemd-sysusers && systemd-tmpfiles --create && systemctl daemon-reload &&
        systemctl --quiet enable platformd platformd-firewall var-lib-platform-apps.mount witness && getent passwd platform-outbound | cut -d: -f1,6,7
}

install_() {
    check "binaries, units, users, folders in place" put_in_place
    check "\`systemctl start platformd\` returns when the policy is in force" systemctl start platformd
    check "\`platformctl status\` ends with 0" platformctl status
    check "systemd has nothing against the units" systemd-analyze verify --man=no /etc/systemd/system/platformd.service /etc/systemd/system/platformd-firewall.service /etc/systemd/system/var-lib-platform-apps.mount
    check "exposure, as systemd counts it" exposure
}

exposure() { systemd-analyze security --no-pager platformd.service | tail -1; }

# A neighbour on the internet, with addresses that are not the host's own /64.
neighbour() {
    ip netns add outside && ip link add out0 type veth peer name in0 netns outside || return
    ip address add 198.51.100.1/24 dev out0 && ip address add 2001:db8:1::1/64 dev out0 nodad && ip link set out0 up
    ip -n outside address add 198.51.100.2/24 dev in0 && ip -n outside address add 2001:db8:1::2/64 dev in0 nodad && ip -n outside link set in0 up
    ip -n outside link set lo up && ip -n outside address add 2001:db8:2::2/128 dev lo nodad
    ip route add 2001:db8:2::/64 via 2001:db8:1::2
}

knock() { # knock SOURCE HOST: a login that sshd refuses
    ip netns exec outside ssh -o BatchMode=yes -o ConnectTimeout=5 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -b "$1" "intruder@$2" true
}

brute_force() { # brute_force SOURCE HOST
    local n=0 said
    until platformctl bans list | grep "^${3:-$1}" >/dev/null; do
        [ $((n += 1)) -le 15 ] || { platformctl activity | tail -5; echo "no ban after $n attempts"; return 1; }
        said=$(knock "$1" "$2" 2>&1)
    done
    echo "after $n attempts: $(platformctl bans list | grep "^${3:-$1}")"
}

shut_out() {
    local said
    said=$(knock "$1" "$2" 2>&1)
    echo "$said" | tail -1
    [[ $said == *"timed out"* ]]
}

bans() {
    check "a neighbour with IPv4 and IPv6" neighbour
    check "brute force over SSH, IPv4, read from the live journal: a ban" brute_force 198.51.100.2 198.51.100.1
    check "the banned source gets no answer" shut_out 198.51.100.2 198.51.100.1
    check "brute force over SSH, IPv6: a ban of the /64" brute_force 2001:db8:2::2 2001:db8:1::1 2001:db8:2::/64
    check "the banned source gets no answer, IPv6" shut_out 2001:db8:2::2 2001:db8:1::1
}

killed() {
    local before seen=0
    before=$(systemctl show -P MainPID platformd)
    systemctl kill --signal=KILL --kill-whom=main platformd
    while :; do
        [ "$(rules)" -ge 2 ] || { echo "the rules are gone"; return 1; }
        seen=$((seen + 1))
        [ "$(systemctl show -P MainPID platformd)" = "$before" ] || [ "$(systemctl is-active platformd)" != active ] || break
        [ $seen -lt 600 ] || { echo "not started again"; return 1; }
    done
    until_true 60 platformctl status && echo "started again $(systemctl show -P NRestarts platformd) time, rules there at each of $seen looks"
}

kill_() {
    check "kill -9: systemd starts it again, and the rules stay" killed
    check "\`platformctl status\` ends with 0 after that" platformctl status
    check "the ban is still there" shut_out 198.51.100.2 198.51.100.1
    check "a block and an open port to find again after the reboot" changes
}

changes() { platformctl block 192.0.2.7 --reason e2e && platformctl ports open 8080; }

entered() { systemctl show -P "$2" "$1"; }

early() {
    cat /run/witness
    local hooks daemon network
    { read -r hooks; read -r daemon; read -r network; read -r address; } </run/witness
    echo "prerouting chains: $hooks; platformd $daemon, networkd $network; eth0: ${address:-not there}"
    [ "$hooks" -ge 2 ] && [ "$daemon" != active ] && [ "$network" = inactive ] && [[ $address != *10.0.2.15* ]]
}

order() {
    local flush restore pre network daemon
    flush=$(entered nftables ActiveEnterTimestampMonotonic)
    restore=$(entered platformd-firewall ActiveEnterTimestampMonotonic)
    pre=$(entered network-pre.target ActiveEnterTimestampMonotonic)
    network=$(entered systemd-networkd InactiveExitTimestampMonotonic)
    daemon=$(entered platformd InactiveExitTimestampMonotonic)
    echo "ms after boot: nftables.service $((flush / 1000)), platformd-firewall $((restore / 1000)), network-pre.target $((pre / 1000)), networkd begins $((network / 1000)), platformd begins $((daemon / 1000))"
    [ "$flush" -gt 0 ] && [ "$flush" -lt "$restore" ] && [ "$restore" -lt "$pre" ] && [ "$pre" -le "$network" ] && [ "$restore" -lt "$daemon" ]
}

remembers() { platformctl blocked | grep 192.0.2.7 && platformctl ports list | grep 8080 && platformctl bans list | grep 198.51.100.2; }

boot() {
    check "after a reboot: platformd-firewall.service ran well" systemctl is-active platformd-firewall
    check "the rules were there before the network and before platformd" early
    check "order at boot, with nftables.service that empties the ruleset" order
    check "platformd started by itself, \`platformctl status\` ends with 0" platformctl status --wait 60s
    check "block, port and ban are there again" remembers
}

feed() {
    printf '192.0.2.128/25\n2001:db8:bad::/48\n' >/srv/list.netset
    platformctl feeds add e2e /srv/list.netset --min 1 && until_true 30 sh -c 'platformctl explain 192.0.2.200 --port 22 | grep refused' && platformctl explain 192.0.2.200 --port 22 | sed -n 1p
}

driver() { platformctl firewall driver "$1" && platformctl status >/tmp/status && head -1 /tmp/status; }

iptables_rules() { driver iptables && iptables -S >/tmp/rules && echo "$(grep -c PLATFORM /tmp/rules) lines of ours in iptables -S" && ! nft list table inet platform 2>/dev/null; }

# Doctor also finds what a machine of this kind has wrong, such as an sshd that takes passwords; here it is about the probe.
probe() {
    platformctl doctor --probe >/tmp/doctor
    grep '^ok *probe' /tmp/doctor
}

sandbox() {
    check "a feed from a file, read by the worker without privileges" feed
    check "\`platformctl doctor --probe\`, from a namespace of its own" probe
    check "the iptables driver under the same unit" iptables_rules
    check "and back to nft" driver nft
    check "no line of the journal says that something was denied" quiet
}

# site puts a file behind HTTPS, with the certificate that is there at once.
site() {
    mkdir -p /srv/www && echo "hello from the machine" >/srv/www/index.html && chmod 755 /srv /srv/www && platformctl route add app.e2e file:///srv/www
}

fetch() { # fetch HOST: as a neighbour
    ip netns exec outside curl -sS --insecure --fail --max-time 30 --resolve "app.e2e:443:$1" -D /tmp/head https://app.e2e/ && grep -i '^strict-transport-security' /tmp/head >/dev/null
}

proxy_pid() { pgrep -u platform-proxy -f "worker proxy"; }

without_rights() { grep -E '^(CapEff|NoNewPrivs|Seccomp):' "/proc/$(proxy_pid)/status" | tr '\n\t' ' ' | tee /tmp/rights && grep -q 'CapEff: 0000000000000000 NoNewPrivs: 1 Seccomp: 2' /tmp/rights; }

survives() {
    local before
    before=$(proxy_pid) && systemctl "$@" platformd || return
    [ "$(proxy_pid)" = "$before" ] && fetch 198.51.100.1
}

proxy() {
    platformctl bans list | grep -q 198.51.100.2 && platformctl bans remove 198.51.100.2 >/dev/null
    platformctl bans list | grep -q 2001:db8:2 && platformctl bans remove 2001:db8:2::/64 >/dev/null
    ip netns list | grep -q outside || neighbour
    check "a route to files, served over HTTPS at once" site
    check "a neighbour opens it, IPv4" fetch 198.51.100.1
    check "a neighbour opens it, IPv6" fetch "[2001:db8:1::1]"
    check "the proxy has no rights" without_rights
    check "it serves while platformd is stopped" survives stop
    check "the next platformd finds it" survives start
    check "and so after a restart" survives restart
    check "\`platformctl status\` ends with 0" platformctl status
}

# An image that nobody has to fetch: busybox alone.
image() {
    systemctl start docker && mkdir -p /srv/image/bin && cp /bin/busybox /srv/image/bin/ && chmod -R a+rX /srv/image && tar -C /srv/image -c bin | docker import - e2e-web >/dev/null &&
        docker version --format 'Docker {{.Server.Version}}, {{join (index .Server.Components 0).Details ""}}' 2>/dev/null || docker version --format 'Docker {{.Server.Version}}'
}

manifest() {
    cat >/srv/web.yaml <<'END'
version: 1
id: web
release: "1"
image: e2e-web
http: {port: 8080}
entrypoint: [/bin/busybox, sh, -c]
command: ['echo "hello from an app" > /tmp/index.html; echo kept > /data/kept; exec /bin/busybox httpd -f -p 8080 -h /tmp']
data: [{name: data, path: /data}]
health: {path: /index.html, statuses: [200], grace: 2m}
END
}

app_running() { manifest && platformctl app install /srv/web.yaml --domain web.e2e 2>/tmp/progress && platformctl app list | grep '^web ' | grep running; }

app_page() { ip netns exec outside curl -sS --insecure --fail --max-time 30 --resolve "web.e2e:443:$1" https://web.e2e/index.html; }

# within FILE...: by a process of the app, which its profile holds.
inside() { docker exec platform-web-a /bin/busybox "$@"; }

profile() { inside cat /proc/self/attr/current && [ "$(inside cat /proc/self/attr/current)" = "platform-app-web (enforce)" ]; }

# denied WHAT COMMAND...: it fails inside of the app, and the kernel says that AppArmor did it.
denied() {
    local since
    since=$(date '+%F %T')
    shift
    if inside "$@" >/tmp/denied 2>&1; then
        cat /tmp/denied
        return 1
    fi
    until_true 10 sh -c "journalctl -k --since '$since' --no-pager -o cat | grep 'apparmor=\"DENIED\".*platform-app-web'" &&
        journalctl -k --since "$since" --no-pager -o cat | grep 'apparmor="DENIED".*platform-app-web' | tail -1 | grep -oE '(operation|name|capname|family|sock_type|requested_mask|denied_mask)=[^ ]*' | paste -sd' '
}

refused() { # refused COMMAND...: it fails, whatever wall stops it first
    if inside "$@" >/tmp/denied 2>&1; then
        cat /tmp/denied
        return 1
    fi
    tail -1 /tmp/denied
}

unloaded() {
    platformctl app uninstall web --data && ! grep '^platform-app-' /sys/kernel/security/apparmor/profiles && [ -z "$(docker ps -aq)$(docker volume ls -q)" ] && [ ! -e /var/lib/platform/apps/web ] && echo "no profile, container, volume or data is left"
}

data_mount() { inside grep " /data " /proc/self/mountinfo | grep nosuid | grep nodev; }

bridges() { # without this wall a condition stands in the status
    platformctl status | grep -A1 bridge-filter && return 1
    paste -d' ' /proc/sys/net/bridge/bridge-nf-call-iptables /proc/sys/net/bridge/bridge-nf-call-ip6tables | tee /tmp/bridges && [ "$(cat /tmp/bridges)" = "1 1" ]
}

resolves() { pgrep -u platform-outbound -f 'worker resolver' >/tmp/resolver && grep -E '^(CapEff|NoNewPrivs|Seccomp):' "/proc/$(head -1 /tmp/resolver)/status" | tr '\n\t' ' ' | tee /tmp/rights && grep -q 'CapEff: 0000000000000000 NoNewPrivs: 1 Seccomp: 2' /tmp/rights; }

# The host answers there to itself; the app gets nothing.
kept_in() {
    local gateway
    gateway=$(ip -4 -o address show br-app1 | awk '{ sub("/.*", "", $4); print $4 }') && nc_host "$gateway" || { echo "the host does not answer on $gateway"; return 1; }
    refused nc -w 3 "$gateway" 22 -e true && platformctl drops | grep -m1 'egress:web'
}

nc_host() { timeout 5 bash -c "exec 3<>/dev/tcp/$1/22"; }

updated() { sed 's/release: "1"/release: "2"/; s/hello from an app/hello from the next/' /srv/web.yaml >/srv/web2.yaml && platformctl app update web /srv/web2.yaml 2>/tmp/progress && app_page 198.51.100.1; }

apps() {
    check "an engine, and an image that it was given" image
    check "an app is installed and runs, under the unit's sandbox" app_running
    check "a neighbour opens it, IPv4" app_page 198.51.100.1
    check "a neighbour opens it, IPv6" app_page "[2001:db8:1::1]"
    check "its processes are held by a profile of their own" profile
    check "AppArmor denies it to read the kernel's symbols" denied symbols cat /proc/kallsyms
    check "AppArmor denies it to run a program from its data" denied program sh -c '/bin/busybox cp /bin/busybox /data/busybox && /data/busybox true'
    check "AppArmor denies it to write where it has no folder" denied file sh -c 'echo x > /dev/shm/../mqueue/x'
    check "no write to settings of the kernel" refused sh -c 'echo 1 > /proc/sysrq-trigger'
    check "frames between containers of one bridge meet the firewall" bridges
    check "the resolver of apps runs, without rights" resolves
    check "it does not reach the host, and that is told" kept_in
    check "its data is mounted without devices and setuid" data_mount
    check "no raw socket" refused ping -c1 -W1 127.0.0.1
    check "no mount" refused mount -t tmpfs x /tmp
    check "no write to its own programs" refused touch /bin/x
    check "no new user namespace" refused unshare -U true
    check "an update, on a copy of its data" updated
    check "and back" platformctl app rollback web
    check "uninstalled, with its data" unloaded
    systemctl stop docker docker.socket containerd
}

quiet() {
    local lines
    lines=$(journalctl -b -u platformd -u platformd-firewall -p warning --no-pager -o cat | grep -iE 'denied|not permitted|read-only' || true)
    echo "${lines:-nothing}"
    [ -z "$lines" ]
}

# leaks DRIVER TEST: packets of a source that no policy lets in, while policies and sets change. In namespaces of its own.
leaks() {
    local out status
    out=$(./"$1".test -test.short -test.v -test.run "^$2\$/nothing_leaks" -test.timeout 20m 2>&1)
    status=$?
    echo "$out" >&2
    echo "$out" | grep -oE 'IPv[46]: [0-9]+ replacements, .*' | paste -sd';'
    return $status
}

case $1 in
install) install_ ;;
bans) bans ;;
kill) kill_ ;;
boot) boot ;;
sandbox) sandbox ;;
proxy) proxy ;;
apps) apps ;;
leaks-nft) check "nothing leaks on this kernel: nft" leaks nft TestConformance ;;
leaks-iptables) check "nothing leaks on this kernel: iptables" leaks iptables TestConformanceNft ;;
esac
