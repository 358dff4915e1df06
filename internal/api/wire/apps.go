package wire

import (
	"time"

	"github.com/platformd/platformd/apps"
)

// App is one installed app at a glance.
type App struct {
	Name    string `json:"name"`
	Title   string `json:"title,omitempty"`
	Domain  string `json:"domain,omitempty"`
	Release string `json:"release,omitempty"`
	Image   string `json:"image,omitempty"`
	ImageID string `json:"image_id"`
	// State is waiting, starting, running, unhealthy, updating, stopped, debugging or failed.
	State        string      `json:"state"`
	Reason       string      `json:"reason,omitempty"`
	Settled      bool        `json:"settled" doc:"What the document wants of it was done, or given up; nothing is being worked on."`
	Since        time.Time   `json:"since,omitzero"`
	Restarts     int         `json:"restarts,omitempty" doc:"How often its container ended by itself since it was last changed."`
	Stopped      bool        `json:"stopped,omitempty" doc:"It is to be stopped."`
	User         string      `json:"user" doc:"UID:GID in its container."`
	Network      string      `json:"network"`
	Address      string      `json:"address"`
	Ports        []AppPort   `json:"ports,omitempty"`
	Limits       apps.Limits `json:"limits"`
	Next         string      `json:"next,omitempty" doc:"The version that is about to take its place."`
	UpdateFailed string      `json:"update_failed,omitempty" doc:"Why the last update was taken back."`
	Previous     string      `json:"previous,omitempty" doc:"The version that app rollback goes back to."`
}

// AppPort is a port that an app publishes.
type AppPort struct {
	Name      string `json:"name"`
	Protocol  string `json:"protocol"`
	Host      uint16 `json:"host"`
	Container uint16 `json:"container"`
	Count     int    `json:"count" doc:"So many ports that follow each other."`
}

// AppEvent is a step of long work for an app, or a new state of it.
type AppEvent struct {
	Seq   int64     `json:"seq"`
	At    time.Time `json:"at"`
	App   string    `json:"app"`
	State string    `json:"state,omitempty" doc:"Set where the event is a new state."`
	Text  string    `json:"text,omitempty"`
	Done  int64     `json:"done,omitempty" doc:"Bytes that are there."`
	Total int64     `json:"total,omitempty" doc:"Bytes that there will be, as far as is known."`
}

// AppLine is a line that an app wrote.
type AppLine struct {
	Line string `json:"line"`
}

// AppConfigure changes an installed app. What is left out stays as it is.
type AppConfigure struct {
	Domain *string `json:"domain,omitempty"`
	// Env sets variables; an empty value takes the operator's away, so that the manifest's holds.
	Env    map[string]string `json:"env,omitempty"`
	Limits *apps.Limits      `json:"limits,omitempty" doc:"A zero field leaves that limit as it is."`
	Ports  map[string]uint16 `json:"ports,omitempty" doc:"By the name in the manifest; 0 closes one."`
	Egress *apps.Egress      `json:"egress,omitempty"`
}
