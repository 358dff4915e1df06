// Package mmdb reads the countries out of a MaxMind DB file (GeoLite2, GeoIP2, DB-IP, IPinfo).
//
// It runs in the unprivileged outbound worker: the file is outside data, and the library that reads it is given memory,
// never a path. It takes the country where an address is (country.iso_code), else where it is registered
// (registered_country.iso_code), else a plain "country_code" or "country" at the top. It reads nothing else of a record
// and keeps nothing.
package mmdb

import (
	"fmt"
	"io"
	"net/netip"

	"github.com/oschwald/maxminddb-golang/v2"

	"github.com/platformd/platformd/firewall/geo"
	"github.com/platformd/platformd/firewall/ranges"
)

// visits bounds the walk of the tree, by records allowed: a crafted tree that refers to itself has 2^128 networks, most of
// them without data, which is why those are walked here too.
const visits = 8

// Read reads a whole file. A damaged one is an error, also where the library panics.
func Read(r io.Reader, lim geo.Limits) (s geo.Seq, stats geo.Stats, err error) {
	defer func() {
		if p := recover(); p != nil {
			s, err = nil, fmt.Errorf("read MaxMind DB: %w: %v", geo.ErrFormat, p)
		}
	}()
	lim = lim.OrDefaults()
	data, err := io.ReadAll(io.LimitReader(r, lim.Bytes+1))
	if err != nil {
		return nil, stats, fmt.Errorf("read MaxMind DB: %w", err)
	}
	if int64(len(data)) > lim.Bytes {
		return nil, stats, fmt.Errorf("read MaxMind DB: %w: more than %d bytes", geo.ErrTooLarge, lim.Bytes)
	}
	db, err := maxminddb.OpenBytes(data)
	if err != nil {
		return nil, stats, fmt.Errorf("read MaxMind DB: %w: %w", geo.ErrFormat, err)
	}
	defer db.Close()
	b := geo.NewBuilder(geo.MMDB, lim)
	codes := map[uintptr]string{} // by the place of a record: many networks share one
	n := 0
	for res := range db.Networks(maxminddb.IncludeNetworksWithoutData()) {
		if err := res.Err(); err != nil {
			return nil, b.Stats, fmt.Errorf("read MaxMind DB: %w: %w", geo.ErrFormat, err)
		}
		if n++; n > visits*lim.Records {
			return nil, b.Stats, fmt.Errorf("read MaxMind DB: %w: more than %d networks", geo.ErrTooLarge, visits*lim.Records)
		}
		if !res.Found() {
			continue
		}
		code, ok := codes[res.Offset()]
		if !ok {
			code = country(res)
			if len(codes) < 1<<20 {
				codes[res.Offset()] = code
			}
		}
		p := res.Prefix()
		if a := p.Addr(); a.Is4In6() {
			if p.Bits() < 96 {
				continue // a parent of the IPv4 tree names no country
			}
			p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
		}
		if err := b.Add(ranges.Of(p), []byte(code)); err != nil {
			return nil, b.Stats, fmt.Errorf("read MaxMind DB: %w", err)
		}
	}
	s, stats, err = b.Records()
	if err != nil {
		err = fmt.Errorf("read MaxMind DB %s: %w", db.Metadata.DatabaseType, err)
	}
	return s, stats, err
}

func country(res maxminddb.Result) string {
	for _, path := range [][]any{{"country", "iso_code"}, {"registered_country", "iso_code"}, {"country_code"}, {"country"}} {
		var code string
		if err := res.DecodePath(&code, path...); err == nil && len(code) == 2 {
			return code
		}
	}
	return ""
}
