package daemon

import (
	"testing"

	"github.com/platformd/platformd/internal/nstest"
)

func TestMain(m *testing.M) { nstest.Main(m) }
