package compose

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/platformd/platformd/apps"
	"github.com/platformd/platformd/proxy/field"
)

// ports takes what the compose file publishes: HTTP by the proxy, anything else on a port of the host.
func (im *importer) ports(at string) {
	im.portItems(at)
	for i, p := range im.app.Ports {
		where := field.Index(at, i)
		published, err := strconv.ParseUint(p.Published, 10, 16)
		if p.Published != "" && err != nil {
			im.left(where, "a choice of ports (%s) cannot be made by the host; write one", p.Published)
			continue
		}
		target := uint16(p.Target)
		switch {
		case p.Protocol != "udp" && p.Protocol != "tcp" && p.Protocol != "":
			im.left(where, "only tcp and udp are led to an app, not %s", p.Protocol)
			continue
		case p.Protocol != "udp" && target == im.m.HTTP.Port:
			im.changed(where, "is reached by the domain of the app, over HTTPS through the proxy, and not on port %d of the host", max(published, uint64(target)))
			continue
		case p.Protocol != "udp" && (target == 443 || target == 8443):
			im.left(where, "HTTPS is the proxy's, with its certificates; the app serves HTTP behind it")
			continue
		}
		im.publish(where, p.Protocol, p.HostIP, target, uint16(published))
	}
}

// portItems notes which item of the file each port is from.
func (im *importer) portItems(at string) {
	_, list := below(im.file.root, "services")
	for _, step := range []string{im.app.Name, "ports"} {
		if list != nil {
			_, list = below(list, step)
		}
	}
	if list == nil {
		return
	}
	n := 0
	for i, item := range list.Content {
		for range portsIn(item.Value) {
			im.written[field.Index(at, n)] = field.Index(at, i)
			n++
		}
	}
}

// portsIn is how many ports an item such as "8000-8010:8000-8010/udp" stands for.
func portsIn(item string) int {
	item, _, _ = strings.Cut(item, "/")
	first, last, isRange := strings.Cut(item[strings.LastIndexByte(item, ':')+1:], "-")
	a, err1 := strconv.ParseUint(first, 10, 16)
	b, err2 := strconv.ParseUint(last, 10, 16)
	if !isRange || err1 != nil || err2 != nil || b < a {
		return 1
	}
	return int(b-a) + 1
}

func (im *importer) publish(where, protocol, hostIP string, target, published uint16) {
	port := apps.Port{Container: target, Default: published, Protocol: apps.Protocol(protocol)}
	if published == 0 {
		port.Default = target
	}
	if n := len(im.m.Ports); n > 0 { // one of a range
		last := &im.m.Ports[n-1]
		count := uint16(max(last.Count, 1))
		if last.Protocol == port.Protocol && last.Container+count == port.Container && last.Default+count == port.Default {
			last.Count = int(count) + 1
			im.taken(where)
			return
		}
	}
	port.Name = fmt.Sprintf("%s-%d", port.Protocol, target)
	if slices.ContainsFunc(im.m.Ports, func(o apps.Port) bool { return o.Name == port.Name }) {
		im.left(where, "port %d of the app is published already, and is so once", target)
		return
	}
	text := ""
	if a, err := netip.ParseAddr(hostIP); err == nil && !a.IsUnspecified() {
		port.Optional = true
		text = fmt.Sprintf("is closed until it is opened (--port %s=%d), because it was published on %s alone and here it would be on every address", port.Name, port.Default, hostIP)
	}
	im.m.Ports = append(im.m.Ports, port)
	if text != "" {
		im.changed(where, "%s", text)
	} else {
		im.say(Taken, where, "port %d of the host, under the name %s", port.Default, port.Name)
	}
}
