package nft

import (
	"testing"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/conformance"
	"github.com/platformd/platformd/internal/nstest"
)

func TestMain(m *testing.M) { nstest.Main(m) }

func TestConformance(t *testing.T) {
	conformance.Run(t, newDriver)
}

func newDriver(t *testing.T) firewall.Driver {
	d, err := New()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestRepairs(t *testing.T) { conformance.RunRepairs(t, newDriver, conformance.NftTampers()) }

func TestDocker(t *testing.T) { conformance.RunDocker(t, newDriver) }
