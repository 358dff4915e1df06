package iptables_test

import (
	"testing"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/conformance"
	"github.com/platformd/platformd/firewall/iptables"
)

func newDriver(variant string) conformance.New {
	return func(t *testing.T) firewall.Driver {
		d, err := iptables.New(iptables.Config{Variant: variant})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
}

func TestConformanceNft(t *testing.T) { conformance.Run(t, newDriver("nft")) }

func TestConformanceLegacy(t *testing.T) { conformance.Run(t, newDriver("legacy")) }

func TestDocker(t *testing.T) { conformance.RunDocker(t, newDriver("")) }
