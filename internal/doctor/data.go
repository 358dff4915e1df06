package doctor

import (
	"strings"
	"time"

	"github.com/platformd/platformd/firewall/feeds"
)

// Feed is what is known of one feed that is in force.
type Feed struct {
	Name    string
	Every   time.Duration
	Checked time.Time
	Error   string
}

// Feeds judges the age of block lists.
func Feeds(now time.Time, in []Feed) []Finding {
	if len(in) == 0 {
		return []Finding{finding("feeds", Skipped, "", "there are none")}
	}
	var out []Finding
	for _, f := range in {
		every := f.Every
		if every <= 0 {
			every = feeds.DefaultEvery
		}
		check, update := "feed-age:"+f.Name, "platformctl feeds update "+f.Name
		switch age := now.Sub(f.Checked); {
		case f.Checked.IsZero():
			out = append(out, finding(check, Warning, update, "was never fetched: it keeps nobody out yet"))
		case age > 3*every+time.Hour:
			out = append(out, finding(check, Warning, update, "was last checked %s ago, but should be every %v", days(age), every))
		case f.Error != "":
			out = append(out, finding(check, Warning, update, "the last good copy is in force; the last try ended with: %s", f.Error))
		}
	}
	if len(out) == 0 {
		out = append(out, finding("feeds", OK, "", "%d are up to date", len(in)))
	}
	return out
}

// Geo judges the country data. Addresses change hands: after some months a country rule keeps out the wrong people.
func Geo(now time.Time, rules int, loaded, dated time.Time) Finding {
	const check, old = "geo-data", 90 * 24 * time.Hour
	const update = "apt-get update && apt-get install --only-upgrade tor-geoipdb; platformctl geo update"
	switch {
	case rules == 0:
		return finding(check, Skipped, "", "no rule needs it")
	case loaded.IsZero():
		return finding(check, Failed, "apt-get install tor-geoipdb; platformctl geo update", "%d rules go by country, but there is no country data", rules)
	case !dated.IsZero() && now.Sub(dated) > old:
		return finding(check, Warning, update, "is %s old", days(now.Sub(dated)))
	}
	return finding(check, OK, "", "is %s old", days(now.Sub(dated)))
}

// Disk judges the room in the data directory, in bytes.
func Disk(dir string, free, total uint64) Finding {
	const check, remedy = "disk", "make room; settings.activity_days and settings.history_days in the document say what is kept"
	const mb = 1 << 20
	state, text := OK, ""
	switch {
	case total == 0:
		return finding(check, Skipped, "", "%s: the file system does not say its size", dir)
	case free < 64*mb:
		state, text = Failed, remedy
	case free < 512*mb || free*20 < total:
		state, text = Warning, remedy
	}
	return finding(check, state, text, "%d of %d MB free in %s", free/mb, total/mb, dir)
}

// Clock judges whether the time can be right: it is not before what was written already. Blocks and bans that end, and
// certificates, go by it.
func Clock(now time.Time, written ...time.Time) Finding {
	const check, slack = "clock", time.Minute
	const remedy = "timedatectl set-ntp true"
	last := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) // older than any release of this program
	for _, t := range written {
		if t.After(last) {
			last = t
		}
	}
	if now.Before(last.Add(-slack)) {
		return finding(check, Failed, remedy, "says %s, but there are records of %s", now.UTC().Format(time.RFC3339), last.UTC().Format(time.RFC3339))
	}
	return finding(check, OK, "", "says %s", strings.Replace(now.UTC().Format(time.RFC3339), "Z", " UTC", 1))
}
