package daemon

import (
	"github.com/platformd/platformd/firewall/geo"
	"github.com/platformd/platformd/internal/api"
)

// Countries implements api.Host.
func (d *Daemon) Countries() []api.Country {
	var out []api.Country
	for a := 'A'; a <= 'Z'; a++ {
		for b := 'A'; b <= 'Z'; b++ {
			code := string([]rune{a, b})
			if name := geo.Name(code); name != "" {
				out = append(out, api.Country{Code: code, Name: name})
			}
		}
	}
	return out
}
