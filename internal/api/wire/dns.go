package wire

// DNSRequest is about the records of names.
type DNSRequest struct {
	Names     []string `json:"names"`
	Addresses []string `json:"addresses,omitempty" doc:"By which this host is reached; empty is its public ones."`
	Replace   bool     `json:"replace,omitempty" doc:"Also remove what leads elsewhere."`
	Remove    bool     `json:"remove,omitempty" doc:"Take the names away from this host instead."`
}

// DNSPlan is how the records of a name differ from what it needs.
type DNSPlan struct {
	Name     string      `json:"name"`
	Provider string      `json:"provider,omitempty" doc:"Who has the zone; left out where nobody of certs.dns has, and records are to be made by hand."`
	Changes  []DNSChange `json:"changes"`
	Odd      []DNSRecord `json:"odd,omitempty" doc:"They lead elsewhere."`
	Unread   string      `json:"unread,omitempty" doc:"Why it is not known what is there."`
}

// DNSChange is a record to be created or removed.
type DNSChange struct {
	Remove bool      `json:"remove,omitempty"`
	Record DNSRecord `json:"record"`
}

// DNSRecord is one record.
type DNSRecord struct {
	Name  string `json:"name"`
	Type  string `json:"type"`
	Value string `json:"value"`
}
