package wire

// PortRequest opens ports.
type PortRequest struct {
	Name       string   `json:"name,omitempty" doc:"Unique among ports; made of protocol and number where it is empty."`
	Protocol   string   `json:"protocol,omitempty" doc:"tcp or udp." default:"tcp"`
	Ports      []string `json:"ports" doc:"Numbers or ranges: 8080, 8000-8010."`
	Sources    []string `json:"sources,omitempty" doc:"Only from these addresses, prefixes or ranges; empty is everybody."`
	Interfaces []string `json:"interfaces,omitempty" doc:"Only on these interfaces; empty is every one."`
	Limit      string   `json:"limit,omitempty" doc:"A limit class, such as ssh or http."`
}

// BlockRequest blocks targets, all in one revision.
type BlockRequest struct {
	Targets []string `json:"targets" doc:"Addresses, prefixes or ranges: 192.0.2.1, 192.0.2.0/24, 192.0.2.1-192.0.2.9."`
	For     string   `json:"for,omitempty" doc:"How long: 30m, 12h, 7d, 2w; empty is until it is removed."`
	Reason  string   `json:"reason,omitempty"`
}

// AllowRequest puts targets on the always-allow list.
type AllowRequest struct {
	Targets []string `json:"targets" doc:"Addresses, prefixes or ranges."`
	Comment string   `json:"comment,omitempty"`
}

// FeedRequest adds a feed. A name alone takes the preset of that name.
type FeedRequest struct {
	Name      string `json:"name"`
	Source    string `json:"source,omitempty" doc:"An https or http URL, or an absolute path."`
	Format    string `json:"format,omitempty" doc:"netset, json, hosts, csv:N, or empty for detection."`
	Every     string `json:"every,omitempty" doc:"How often it is fetched; empty is 12h."`
	MinRanges int    `json:"min_ranges,omitempty" doc:"Fewer ranges than that are not plausible."`
	MaxRanges int    `json:"max_ranges,omitempty" doc:"More ranges than that are not plausible."`
	Disabled  bool   `json:"disabled,omitempty"`
}

// FeedUpdateRequest fetches feeds now.
type FeedUpdateRequest struct {
	Names []string `json:"names,omitempty" doc:"Empty is all."`
	Force bool     `json:"force,omitempty" doc:"Take a copy that was held back as implausible."`
}

// GeoRequest adds countries to a geo rule.
type GeoRequest struct {
	Action       string   `json:"action" doc:"block keeps the countries out; allow keeps everybody else out."`
	Countries    []string `json:"countries" doc:"ISO 3166-1 alpha-2 codes."`
	Protocol     string   `json:"protocol,omitempty" doc:"tcp or udp; only with ports."`
	Ports        []string `json:"ports,omitempty" doc:"Only for these ports; empty is the whole host."`
	AdmitUnknown bool     `json:"admit_unknown,omitempty" doc:"Addresses of no known country pass an allow rule."`
}

// LimitRequest sets a limit class.
type LimitRequest struct {
	Limit string `json:"limit" doc:"5/10s, 50/s burst 100, concurrent 20, or off."`
}

// StrikeRequest reports a source that misbehaved.
type StrikeRequest struct {
	Source string `json:"source" doc:"The true address of the peer, never one that a header names."`
	Reason string `json:"reason" doc:"What kind of misbehaviour: sshd, login, smtp, ...; settings for bans go by it."`
	Detail string `json:"detail,omitempty" doc:"One line for people."`
}

// RollbackRequest goes back to the content of a revision.
type RollbackRequest struct {
	Revision int64 `json:"revision" minimum:"1"`
}

// FirewallRequest switches the firewall; what is left out stays as it is.
type FirewallRequest struct {
	Enabled *bool   `json:"enabled,omitempty"`
	Driver  *string `json:"driver,omitempty" doc:"auto, nft or iptables."`
}
