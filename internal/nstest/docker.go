package nstest

import (
	"testing"

	"github.com/platformd/platformd/internal/nstest/dockerd"
)

// Docker is a Docker engine in the host of a topology, with folders of its own. It knows the image "busybox" and reaches no
// registry.
type Docker struct{ engine *dockerd.Engine }

// StartDocker starts an engine that publishes ports for IPv4 and IPv6 with packet filter rules alone, and removes all of it
// when the test ends. It fails the test where Docker is not installed.
func (tp *Topology) StartDocker(t testing.TB) *Docker {
	t.Helper()
	if err := Check(); err != nil {
		t.Fatalf("nstest: %v", err)
	}
	e, err := dockerd.Start()
	if e != nil {
		t.Cleanup(func() {
			if err := e.Remove(); err != nil {
				t.Error(err)
			}
		})
	}
	if err != nil {
		t.Fatalf("nstest: %v", err)
	}
	return &Docker{e}
}

// Host is where the engine listens, as DOCKER_HOST.
func (d *Docker) Host() string { return d.engine.Host() }

// Run runs the docker client and returns what it says; an error fails the test.
func (d *Docker) Run(t testing.TB, stdin []byte, args ...string) string {
	t.Helper()
	if err := Check(); err != nil {
		t.Fatalf("nstest: %v", err)
	}
	out, err := d.engine.Run(stdin, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Try runs the docker client; what goes wrong is for the caller to judge.
func (d *Docker) Try(args ...string) (string, error) { return d.engine.Run(nil, args...) }

// Stop ends the engine, and with it its containers.
func (d *Docker) Stop(t testing.TB) {
	t.Helper()
	d.engine.Stop()
}

// Restart stops and starts the engine; containers are stopped then.
func (d *Docker) Restart(t testing.TB) {
	t.Helper()
	if err := d.engine.Restart(); err != nil {
		t.Fatal(err)
	}
}
