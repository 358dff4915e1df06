package sqlite

import (
	"errors"
	"os"
)

// reserveBytes is room that is kept beside a database for its next start: SQLite cannot even read one in WAL mode without
// creating two files, and a daemon that cannot start because a disk is full would protect nothing.
const reserveBytes = 256 << 10

func reservePath(path string) string { return path + ".reserve" }

// keepReserve makes the reserve where there is none. It may find no room; there is none to keep then.
func keepReserve(path string) {
	f, err := os.OpenFile(reservePath(path), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return
	}
	_, err = f.Write(make([]byte, reserveBytes)) // zeros that are written, because a hole would keep nothing
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		_ = os.Remove(f.Name())
	}
}

// giveReserve frees the reserve and reports whether there was one.
func giveReserve(path string) bool { return os.Remove(reservePath(path)) == nil }
