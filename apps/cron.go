package apps

import (
	"fmt"
	"time"

	"github.com/robfig/cron/v3"
)

// cronFields are the five of crontab(5), and no others.
const cronFields = cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow

// CheckCron says what is wrong with a schedule.
func CheckCron(s string) error {
	if _, err := cron.NewParser(cronFields).Parse(s); err != nil {
		return fmt.Errorf("%q is not a schedule (%v); write five fields, for example 15 3 * * *", s, err)
	}
	return nil
}

// NextRun is when a schedule is due after t, in UTC. A schedule that does not parse is never due.
func NextRun(s string, t time.Time) time.Time {
	schedule, err := cron.NewParser(cronFields).Parse(s)
	if err != nil {
		return time.Time{}
	}
	return schedule.Next(t.UTC())
}
