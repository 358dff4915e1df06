package api

import "github.com/platformd/platformd/internal/api/wire"

// The types of the wire under the names that the host knows them by.
type (
	Options        = wire.Options
	ChangeResult   = wire.ChangeResult
	FieldChange    = wire.FieldChange
	Provisional    = wire.Provisional
	Status         = wire.Status
	FirewallStatus = wire.FirewallStatus
	Counts         = wire.Counts
	Revision       = wire.Revision
	Ban            = wire.Ban
	FeedStatus     = wire.FeedStatus
	GeoStatus      = wire.GeoStatus
	GeoRuleStatus  = wire.GeoRuleStatus
	GeoLookup      = wire.GeoLookup
	Country        = wire.Country
	LimitStatus    = wire.LimitStatus
	Drop           = wire.Drop
	Top            = wire.Top
	TopEntry       = wire.TopEntry
	Explanation    = wire.Explanation
	Finding        = wire.Finding
	Preset         = wire.Preset
)

// DefaultSocket is where the API listens.
const DefaultSocket = wire.DefaultSocket
