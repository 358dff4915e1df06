package wire

import "time"

// CatalogApp is an app that can be installed by its name.
type CatalogApp struct {
	Name        string   `json:"name"`
	Title       string   `json:"title,omitempty"`
	Release     string   `json:"release,omitempty"`
	Description string   `json:"description,omitempty"`
	Image       string   `json:"image,omitempty" doc:"Empty where it is built from Debian packages."`
	Addons      []string `json:"addons,omitempty"`
	Manifest    string   `json:"manifest" doc:"As YAML."`
}

// AppPlan is what an installation or update would change, or what differs from the document now.
type AppPlan struct {
	App      string        `json:"app"`
	Installs bool          `json:"installs" doc:"There is no app of this name yet."`
	Document []FieldChange `json:"document"`
	Steps    []string      `json:"steps" doc:"What the container engine would be asked to do."`
}

// AppDebug replaces the process of an app.
type AppDebug struct {
	Command []string `json:"command" doc:"The program that runs in the place of the app's own, and its arguments."`
}

// AppSample is how much of the host an app used.
type AppSample struct {
	At time.Time `json:"at"`
	// CPU is in processors: 0.5 is half of one.
	CPU    float64 `json:"cpu"`
	Memory int64   `json:"memory" doc:"Bytes."`
	PIDs   int64   `json:"pids"`
	// Received and Sent are bytes per second.
	Received float64 `json:"received"`
	Sent     float64 `json:"sent"`
	Disk     int64   `json:"disk" doc:"Bytes of its data folders, as last looked at."`
}

// ExecProtocol is what a connection to /apps/NAME/exec is upgraded to: frames of one byte for the kind, four for the length
// (big endian), and the content.
const ExecProtocol = "platform-exec"

// Kinds of frames. The first three come from the caller, the others from the daemon.
const (
	ExecInput  = 0 // for the standard input; empty is its end
	ExecResize = 1 // rows and columns, two bytes each
	ExecOutput = 2
	ExecErrors = 3
	ExecEnded  = 4 // the exit code, four bytes
	ExecFailed = 5 // a sentence: it could not be run
)

// MaxExecFrame bounds the content of a frame.
const MaxExecFrame = 64 << 10
