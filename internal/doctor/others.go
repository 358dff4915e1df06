package doctor

import (
	"encoding/json"
	"fmt"
)

// Chain is a base chain of another program that drops what it does not know.
type Chain struct {
	Family, Table, Name, Hook string
}

// Others is what else on the host filters packets.
type Others struct {
	// UFW, Firewalld and NFTables say that these services are switched on.
	UFW, Firewalld, NFTables bool
	Chains                   []Chain
	// ChainsErr is why chains could not be listed.
	ChainsErr error
}

// Firewalls judges the others: what they drop, no rule of ours lets in, and what they do at a restart may concern us.
func Firewalls(o Others) []Finding {
	const check = "other-firewalls"
	var out []Finding
	for _, x := range []struct {
		on             bool
		name, off, why string
	}{
		{o.UFW, "ufw", "ufw disable", "what it drops, no open port of ours lets in"},
		{o.Firewalld, "firewalld", "systemctl disable --now firewalld", "what it drops, no open port of ours lets in"},
		{o.NFTables, "nftables.service", "systemctl disable --now nftables", "it replaces all tables when it is restarted; ours come back within seconds"},
	} {
		if x.on {
			out = append(out, finding(check, Warning, "keep one of the two: "+x.off, "%s is on: %s", x.name, x.why))
		}
	}
	for _, c := range o.Chains {
		out = append(out, finding(check, Warning, fmt.Sprintf("see that it lets in what our policy opens: nft list chain %s %s %s; doctor --probe shows whether it does", c.Family, c.Table, c.Name),
			"chain %s of table %s %s drops at hook %s what it does not know", c.Name, c.Family, c.Table, c.Hook))
	}
	if o.ChainsErr != nil {
		out = append(out, finding(check, Skipped, "", "the chains of other programs could not be listed: %v", o.ChainsErr))
	}
	if len(out) == 0 {
		out = append(out, finding(check, OK, "", "none is active"))
	}
	return out
}

// Docker judges Docker's daemon.json; nil is that there is none.
func Docker(config []byte) []Finding {
	const check, restart = "docker", "in /etc/docker/daemon.json, and: systemctl restart docker"
	if config == nil {
		return []Finding{finding(check, Skipped, "", "there is no daemon.json")}
	}
	var c struct {
		IPTables  *bool  `json:"iptables"`
		IP6Tables *bool  `json:"ip6tables"`
		IPv6      bool   `json:"ipv6"`
		Proxy     *bool  `json:"userland-proxy"`
		Remap     string `json:"userns-remap"`
	}
	if err := json.Unmarshal(config, &c); err != nil {
		return []Finding{finding(check, Warning, "mend /etc/docker/daemon.json: Docker does not start with it", "daemon.json: %v", err)}
	}
	is := func(b *bool, want bool) bool { return b != nil && *b == want }
	var out []Finding
	if is(c.IPTables, false) {
		out = append(out, finding(check, Warning, `take "iptables": false out `+restart, "Docker makes no packet filter rules: published ports go through its proxy, which hides who asks"))
	}
	if is(c.IP6Tables, false) {
		out = append(out, finding(check, Warning, `write "ip6tables": true `+restart, "Docker makes no rules for IPv6: published ports go through its proxy, which hides who asks"))
	}
	if !is(c.Proxy, false) {
		out = append(out, finding(check, Warning, `write "userland-proxy": false `+restart, "Docker's userland proxy is on: it listens on every published port, and containers may see its address instead of the client's"))
	}
	if c.Remap == "" {
		out = append(out, finding(check, Warning, `write "userns-remap": "default" `+restart+` (before the first app: images and containers of before are not seen any more)`,
			"user namespaces are off: root in a container is root of the host, held back by capabilities and filters alone"))
	}
	if len(out) == 0 {
		out = append(out, finding(check, OK, "", "publishes ports by packet filter rules alone, for IPv4 and IPv6"))
	}
	return out
}
