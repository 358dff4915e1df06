package activity

import "slices"

// Action names what happened: <object>-<past participle>. The names are declared here and nowhere else.
type Action string

// The actions. Their descriptions are in Actions.
const (
	PortOpened          Action = "port-opened"
	PortClosed          Action = "port-closed"
	PortChanged         Action = "port-changed"
	AddressBlocked      Action = "address-blocked"
	AddressUnblocked    Action = "address-unblocked"
	AddressAllowed      Action = "address-allowed"
	AddressDisallowed   Action = "address-disallowed"
	BlockExpired        Action = "block-expired"
	FeedAdded           Action = "feed-added"
	FeedRemoved         Action = "feed-removed"
	FeedUpdated         Action = "feed-updated"
	FeedRejected        Action = "feed-rejected"
	GeoChanged          Action = "geo-changed"
	GeoDataUpdated      Action = "geodata-updated"
	GeoDataRejected     Action = "geodata-rejected"
	LimitChanged        Action = "limit-changed"
	BanAdded            Action = "ban-added"
	BanRemoved          Action = "ban-removed"
	BanExpired          Action = "ban-expired"
	BanPolicyChanged    Action = "banpolicy-changed"
	DriftFound          Action = "drift-found"
	DriftRepaired       Action = "drift-repaired"
	RouteAdded          Action = "route-added"
	RouteRemoved        Action = "route-removed"
	StreamAdded         Action = "stream-added"
	StreamRemoved       Action = "stream-removed"
	UpstreamAdded       Action = "upstream-added"
	UpstreamChanged     Action = "upstream-changed"
	UpstreamRemoved     Action = "upstream-removed"
	WorkerReplaced      Action = "worker-replaced"
	PageChanged         Action = "page-changed"
	CachePurged         Action = "cache-purged"
	CertificateIssued   Action = "certificate-issued"
	CertificateFailed   Action = "certificate-failed"
	CertificateImported Action = "certificate-imported"
	CertificateRemoved  Action = "certificate-removed"
	CertificateExpiring Action = "certificate-expiring"
	CertsChanged        Action = "certs-changed"
	SecretStored        Action = "secret-stored"
	SecretRemoved       Action = "secret-removed"
	DNSChanged          Action = "dns-changed"
	AppInstalled        Action = "app-installed"
	AppRemoved          Action = "app-removed"
	AppChanged          Action = "app-changed"
	AppStarted          Action = "app-started"
	AppStopped          Action = "app-stopped"
	AppUpdateStarted    Action = "app-update-started"
	AppUpdated          Action = "app-updated"
	AppUpdateFailed     Action = "app-update-failed"
	AppCrashed          Action = "app-crashed"
	AppOutOfMemory      Action = "app-out-of-memory"
	AppUnhealthy        Action = "app-unhealthy"
	AppRecovered        Action = "app-recovered"
	AppRepaired         Action = "app-repaired"
	AppDebugged         Action = "app-debugged"
	AppCloned           Action = "app-cloned"
	AppExecuted         Action = "app-executed"
	FirewallEnabled     Action = "firewall-enabled"
	FirewallDisabled    Action = "firewall-disabled"
	FirewallApplied     Action = "firewall-applied"
	FirewallRestored    Action = "firewall-restored"
	DriverChanged       Action = "driver-changed"
	PolicyChanged       Action = "policy-changed"
	SettingsChanged     Action = "settings-changed"
	RevisionApplied     Action = "revision-applied"
	RevisionRolledBack  Action = "revision-rolled-back"
	ChangeConfirmed     Action = "change-confirmed"
	ChangeReverted      Action = "change-reverted"
	StateRestored       Action = "state-restored"
	HealthChanged       Action = "health-changed"
	DaemonStarted       Action = "daemon-started"
	DaemonStopped       Action = "daemon-stopped"
	LoginFailed         Action = "login-failed"
	RequestRefused      Action = "request-refused"
	ActivityStarted     Action = "activity-started"
	ActivityRestarted   Action = "activity-restarted"
	ActivityDamaged     Action = "activity-damaged"
	ActivityAccepted    Action = "activity-accepted"
	ActivityPruned      Action = "activity-pruned"
	ActivityExported    Action = "activity-exported"
)

// ActionInfo describes an action.
type ActionInfo struct {
	Name        Action `json:"name"`
	Description string `json:"description"`
}

// Actions lists every action with what it means, for documentation, completion and filters.
func Actions() []ActionInfo {
	return []ActionInfo{
		{PortOpened, "A port was opened in the policy."},
		{PortClosed, "A port was closed in the policy."},
		{PortChanged, "The sources, interfaces or limit of an open port were changed."},
		{AddressBlocked, "An address or range was blocked."},
		{AddressUnblocked, "A block, or a part of one, was removed."},
		{AddressAllowed, "An address or range was put on the always-allow list."},
		{AddressDisallowed, "An address or range was taken off the always-allow list."},
		{BlockExpired, "A block reached its end and was removed."},
		{FeedAdded, "A block-list feed was added."},
		{FeedRemoved, "A block-list feed was removed."},
		{FeedUpdated, "New content of a feed was taken over."},
		{FeedRejected, "New content of a feed was not plausible or could not be fetched; the last good copy stays."},
		{GeoChanged, "A rule about countries was added, changed or removed."},
		{GeoDataUpdated, "New country data was taken over."},
		{GeoDataRejected, "New country data was not plausible or could not be read; the last good data stays."},
		{RouteAdded, "A route of the proxy was added or replaced."},
		{RouteRemoved, "A route of the proxy was removed."},
		{StreamAdded, "A stream of the proxy was added, replaced, or given other names."},
		{StreamRemoved, "A stream of the proxy was removed."},
		{UpstreamAdded, "A group of back ends was added or replaced."},
		{UpstreamChanged, "A group of back ends, or a server of it, was changed."},
		{UpstreamRemoved, "A group of back ends was removed."},
		{WorkerReplaced, "A worker that did not answer any more was killed, and another took its place."},
		{PageChanged, "An error page or the maintenance page of the proxy was set or removed."},
		{CachePurged, "Answers that the proxy had stored were dropped."},
		{LimitChanged, "A limit class was changed."},
		{BanAdded, "An address was banned for what it did."},
		{BanRemoved, "A ban was removed by hand."},
		{BanExpired, "A ban reached its end."},
		{BanPolicyChanged, "The rules for bans were changed."},
		{DriftFound, "The kernel did not hold what the policy wants; somebody else has changed it."},
		{DriftRepaired, "Drift was repaired; the kernel agrees with the policy again."},
		{CertificateIssued, "A certificate authority issued or renewed a certificate, and it is in use."},
		{CertificateFailed, "A certificate authority did not issue a certificate; it is asked again later."},
		{CertificateImported, "A certificate that the operator brought was taken into use."},
		{CertificateRemoved, "A certificate was removed."},
		{CertificateExpiring, "A certificate ends in 21, 14 or 7 days, and there is no newer one."},
		{CertsChanged, "Who issues certificates, and for which names, was changed."},
		{SecretStored, "A secret of a DNS provider or certificate authority was stored."},
		{SecretRemoved, "A secret was removed."},
		{DNSChanged, "Records of a zone were created or removed at a DNS provider."},
		{AppInstalled, "An app was installed."},
		{AppRemoved, "An app was uninstalled."},
		{AppChanged, "The domain, limits, environment or ports of an app were changed."},
		{AppStarted, "An app was started, or started anew."},
		{AppStopped, "An app was stopped."},
		{AppUpdateStarted, "Another version of an app is on its way."},
		{AppUpdated, "Another version of an app took its place and is healthy."},
		{AppUpdateFailed, "Another version of an app did not become healthy; the one before runs again, on its own data."},
		{AppCrashed, "The container of an app ended by itself."},
		{AppOutOfMemory, "The kernel ended an app that needed more memory than its limit."},
		{AppUnhealthy, "An app does not answer as its manifest says."},
		{AppRecovered, "An app answers again."},
		{AppRepaired, "Network, volumes and containers of an app were made anew; its data stayed."},
		{AppDebugged, "The process of an app was replaced, and its root file system made writable, until it is started."},
		{AppCloned, "An app and its data were copied under another name, with secrets of its own."},
		{AppExecuted, "Somebody ran a program in the container of an app. Its arguments are not noted, because they may be secrets."},
		{FirewallEnabled, "The firewall was switched on."},
		{FirewallDisabled, "The firewall was switched off; the host is open."},
		{FirewallApplied, "A ruleset was put into the kernel and read back."},
		{FirewallRestored, "The last good ruleset was put back at boot."},
		{DriverChanged, "The firewall moved to another kernel facility."},
		{PolicyChanged, "Another part of the firewall policy was changed."},
		{SettingsChanged, "The daemon's settings were changed."},
		{RevisionApplied, "A document was applied as a whole from a file."},
		{RevisionRolledBack, "The document went back to the content of an earlier revision."},
		{ChangeConfirmed, "A provisional change was confirmed."},
		{ChangeReverted, "A provisional change was not confirmed in time and was taken back."},
		{StateRestored, "The database of the state was damaged or missing; the state came from its export."},
		{HealthChanged, "A health condition began or ended."},
		{DaemonStarted, "The daemon started."},
		{DaemonStopped, "The daemon stopped."},
		{LoginFailed, "Somebody failed to authenticate."},
		{RequestRefused, "A request was refused because its author may not make it."},
		{ActivityStarted, "This log began."},
		{ActivityRestarted, "The log before this one was damaged or missing; a new chain began."},
		{ActivityDamaged, "When the log was opened, it was not as it had been signed."},
		{ActivityAccepted, "Problems that were found in this log were looked at and accepted."},
		{ActivityPruned, "Old records were removed because their time was over."},
		{ActivityExported, "The log was exported."},
	}
}

func (a Action) declared() bool {
	return slices.ContainsFunc(Actions(), func(i ActionInfo) bool { return i.Name == a })
}
