package apparmor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/platformd/platformd/apps"
)

// parser compiles and loads profiles (package apparmor of Debian).
const parser = "apparmor_parser"

// parseTime bounds one run of it.
const parseTime = 30 * time.Second

// Enabled reports whether the kernel confines by AppArmor (Documentation/admin-guide/LSM/apparmor.rst).
func Enabled() bool {
	b, err := os.ReadFile("/sys/module/apparmor/parameters/enabled")
	return err == nil && strings.HasPrefix(string(b), "Y")
}

// Loader puts profiles into the kernel. The zero value is ready, and safe for concurrent use.
type Loader struct{}

// Load puts the profile of an app into the kernel, in the place of the one before.
func (Loader) Load(ctx context.Context, a *apps.App) error {
	if err := run(ctx, Profile(a), "--replace", "--skip-cache"); err != nil {
		return fmt.Errorf("load the AppArmor profile of app %q: %w", a.Name, err)
	}
	return nil
}

// Remove takes the profile of an app out of the kernel. One that is not there is no error.
func (Loader) Remove(ctx context.Context, app string) error {
	loaded, err := os.ReadFile("/sys/kernel/security/apparmor/profiles")
	if err == nil && !strings.Contains("\n"+string(loaded), "\n"+apps.ProfileName(app)+" (") {
		return nil
	}
	if err := run(ctx, "profile "+apps.ProfileName(app)+" {}\n", "--remove"); err != nil {
		return fmt.Errorf("remove the AppArmor profile of app %q: %w", app, err)
	}
	return nil
}

func run(ctx context.Context, profile string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, parseTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, parser, args...)
	cmd.Stdin = strings.NewReader(profile)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	err := cmd.Run()
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("%s is not there; install the package apparmor", parser)
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %s", parser, err, strings.TrimSpace(said.String()[:min(said.Len(), 1000)]))
	}
	return nil
}
