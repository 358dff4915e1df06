package wire

import (
	"encoding/json"
	"time"
)

// Record is one record of the activity log.
type Record struct {
	Seq      int64           `json:"seq"`
	Time     time.Time       `json:"time"`
	Actor    string          `json:"actor"`
	Source   string          `json:"source,omitempty" doc:"The address that the request came from, or local."`
	Action   string          `json:"action"`
	Object   string          `json:"object,omitempty"`
	Revision int64           `json:"revision,omitempty"`
	Outcome  string          `json:"outcome" doc:"ok, refused, failed, or pending."`
	Message  string          `json:"message,omitempty"`
	Before   json.RawMessage `json:"before,omitempty"`
	After    json.RawMessage `json:"after,omitempty"`
	Hash     string          `json:"hash" doc:"The link of the chain, hexadecimal."`
}

// ActivityFilter says which records are wanted.
type ActivityFilter struct {
	Since   time.Time `query:"since" doc:"Not older than that."`
	Until   time.Time `query:"until" doc:"Older than that."`
	Actor   string    `query:"actor"`
	Action  string    `query:"action" doc:"A name, the object in front of it (port), or a pattern with * and ?."`
	Object  string    `query:"object" doc:"Exact, or a pattern with * and ?."`
	Source  string    `query:"source" doc:"Exact, or a pattern with * and ?."`
	Text    string    `query:"text" doc:"Words that must all be in the record."`
	Outcome string    `query:"outcome" enum:"ok,refused,failed,pending"`
	After   int64     `query:"after" doc:"Only records with a higher number."`
	Limit   int       `query:"limit" minimum:"0" maximum:"10000" doc:"At most that many; 0 is 1000, and no bound for a stream."`
	Newest  bool      `query:"newest" doc:"The newest first; a limit then keeps the newest. Not for a stream."`
}

// ActivityReport is what a verification of the activity log found.
type ActivityReport struct {
	OK          bool              `json:"ok"`
	First       int64             `json:"first"`
	Last        int64             `json:"last"`
	Records     int64             `json:"records"`
	Checkpoints int               `json:"checkpoints"`
	Problems    []ActivityProblem `json:"problems,omitempty"`
	More        int               `json:"more,omitempty" doc:"Problems that are not in the list."`
}

// ActivityProblem is one thing that is wrong with the activity log.
type ActivityProblem struct {
	Kind string `json:"kind" doc:"changed, missing, head, checkpoint, replaced or damaged."`
	Seq  int64  `json:"seq,omitempty"`
	To   int64  `json:"to,omitempty"`
	Text string `json:"text"`
}
