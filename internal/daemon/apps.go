package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/platformd/platformd/apps"
	"github.com/platformd/platformd/apps/apparmor"
	"github.com/platformd/platformd/apps/docker"
	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/api"
	"github.com/platformd/platformd/internal/appkeep"
	"github.com/platformd/platformd/internal/health"
	"github.com/platformd/platformd/internal/secret"
	"github.com/platformd/platformd/internal/sqlite"
	"github.com/platformd/platformd/internal/state"
)

// defaultEngine is where Docker listens.
const defaultEngine = "unix:///var/run/docker.sock"

// appBook is the apps with what the daemon needs of them.
type appBook struct {
	*appkeep.Keeper
	engine *docker.Engine
	vault  *appkeep.Vault
}

func (b *appBook) Close() error { return errors.Join(b.engine.Close(), b.vault.Close()) }

// appsDir holds the data of all apps.
func appsDir(dataDir string) string { return filepath.Join(dataDir, "apps") }

func (d *Daemon) openApps(ctx context.Context) (*appBook, error) {
	if d.cfg.DockerHost == "" {
		d.cfg.DockerHost = defaultEngine
	}
	engine, err := docker.New(docker.Config{Host: d.cfg.DockerHost, Folder: appsDir(d.cfg.DataDir)})
	if err != nil {
		return nil, err
	}
	vault, err := appkeep.OpenVault(ctx, d.cfg.DataDir, d.cfg.Credentials)
	if corruptDatabase(err) || errors.Is(err, secret.ErrNoKey) {
		why := err
		aside, moveErr := sqlite.MoveAside(filepath.Join(d.cfg.DataDir, "apps.db"), d.now())
		if moveErr != nil {
			return nil, moveErr
		}
		d.health.Set(health.Condition{ID: "app-secrets-lost", Severity: health.Critical,
			Message: fmt.Sprintf("the database of apps' secrets could not be opened (%v) and is now %s", why, aside), Remedy: "put it back from a backup, with its key; apps cannot open what they sealed with new secrets"})
		vault, err = appkeep.OpenVault(ctx, d.cfg.DataDir, d.cfg.Credentials)
	}
	if err != nil {
		return nil, errors.Join(err, engine.Close())
	}
	b := &appBook{engine: engine, vault: vault}
	var profiles appkeep.Profiles
	if apparmor.Enabled() {
		profiles = apparmor.Loader{}
	}
	b.Keeper = appkeep.New(appkeep.Config{
		Profiles: profiles,
		Engine:   engine, Folder: appsDir(d.cfg.DataDir),
		Current: func() apps.Config { s, _ := d.store.Current(); return s.Apps },
		Settle:  d.settleApp,
		Secret:  d.appSecret,
		Ready:   d.appReady,
		Record:  d.record, Health: d.health, Now: d.now, Log: d.log,
	})
	return b, nil
}

// keepApps runs the keeper, and has it look when the document changed.
func (d *Daemon) keepApps(ctx context.Context) error {
	changes := d.store.Watch(ctx)
	d.confinement()
	go func() {
		for range changes {
			d.confinement()
			d.apps.Wake()
		}
	}()
	return d.apps.Run(ctx)
}

// confinement keeps the conditions about what should confine apps, where there are some.
func (d *Daemon) confinement() {
	s, _ := d.store.Current()
	if len(s.Apps.Apps) == 0 {
		d.health.Clear("apps-apparmor")
		d.health.Clear("apps-data")
		return
	}
	if err := d.guardData(); err != nil {
		d.health.Set(health.Condition{ID: "apps-data", Severity: health.Warning, Message: err.Error(), Remedy: "it is tried again with the next change; see the journal"})
	}
	if apparmor.Enabled() {
		d.health.Clear("apps-apparmor")
		return
	}
	d.health.Set(health.Condition{ID: "apps-apparmor", Severity: health.Warning, Message: "apps run without AppArmor, which this kernel does not have; other walls stand",
		Remedy: "boot a kernel with AppArmor (apparmor=1 security=apparmor), and: platformctl settings set apps.require_apparmor null"})
}

// settleApp makes the change that ends an update: through the gate that every change goes through.
func (d *Daemon) settleApp(ctx context.Context, action activity.Action, app, summary string, edit func(*apps.Config) error) error {
	_, err := d.Change(ctx, api.Change{Caller: api.Caller{Actor: "platformd", Source: "local"}, Options: api.Options{Force: true}, Action: action,
		Object: app, Summary: summary, Edit: func(s *state.State) error { return edit(&s.Apps) }})
	return err
}

// appSecret is what an app's environment names as a secret.
func (d *Daemon) appSecret(ctx context.Context, app, name string) (string, error) {
	s, _ := d.store.Current()
	bytes := 32
	if a, there := s.Apps.App(app); there {
		for _, v := range a.Versions() {
			for _, want := range v.Manifest.Secrets {
				if "secret."+want.Name == name && want.Bytes != 0 {
					bytes = want.Bytes
				}
			}
		}
	}
	v, err := d.apps.vault.Make(ctx, app, name, bytes)
	return string(v), err
}

// Apps implements api.Host.
func (d *Daemon) Apps(context.Context) ([]api.App, error) {
	s, _ := d.store.Current()
	out := []api.App{}
	for i := range s.Apps.Apps {
		out = append(out, d.wireApp(&s.Apps, &s.Apps.Apps[i]))
	}
	return out, nil
}

func (d *Daemon) wireApp(c *apps.Config, a *apps.App) api.App {
	m, st := &a.Current.Manifest, d.apps.Status(a)
	out := api.App{Name: a.Name, Title: m.Title, Domain: a.Domain, Release: m.Release, Image: m.Image, ImageID: a.Current.ImageID, State: string(st.State), Reason: st.Reason,
		Since: st.Since, Restarts: st.Restarts, UpdateFailed: st.UpdateFailed, Settled: st.Settled, Network: apps.NetworkName(a.Name), Address: c.Address(a, a.Current.Slot).String(), Stopped: a.Stopped, Limits: a.EffectiveLimits(), User: a.Current.User}
	if a.Next != nil {
		out.Next = a.Next.Name()
	}
	if a.Previous != nil {
		out.Previous = a.Previous.Name()
	}
	for _, p := range m.Ports {
		if n := a.PortOf(p); n != 0 {
			out.Ports = append(out.Ports, api.AppPort{Name: p.Name, Protocol: apps.Protocol(p.Protocol), Host: n, Container: p.Container, Count: max(p.Count, 1)})
		}
	}
	return out
}

// PrepareApp implements api.Host: what must be there before the document may name it.
func (d *Daemon) PrepareApp(ctx context.Context, name string, m apps.Manifest) (apps.Version, error) {
	if err := unprovided(name, &m); err != nil {
		return apps.Version{}, err
	}
	info, err := d.apps.engine.Info(ctx)
	if err != nil {
		return apps.Version{}, fmt.Errorf("%w: %w; start Docker (systemctl start docker), or name another engine with --docker-host", api.ErrUnavailable, err)
	}
	s, _ := d.store.Current()
	if require := s.Apps.RequireAppArmor; !info.AppArmor && (require == nil || *require) {
		return apps.Version{}, fmt.Errorf("app %q: %w: this kernel or engine has no AppArmor, which confines apps; boot with apparmor=1 security=apparmor, "+
			"or do without: platformctl settings set apps.require_apparmor false", name, api.ErrUnavailable)
	}
	if err := d.guardData(); err != nil {
		return apps.Version{}, err
	}
	s, _ = d.store.Current()
	installed, _ := s.Apps.App(name)
	if err := d.apps.Room(installed); err != nil {
		return apps.Version{}, fmt.Errorf("app %q: %w", name, full(err))
	}
	image, err := d.image(ctx, name, m.Image)
	if err != nil {
		return apps.Version{}, err
	}
	user, err := d.apps.engine.User(ctx, image, m.User)
	if err != nil {
		return apps.Version{}, fmt.Errorf("app %q: %w: %w", name, api.ErrInvalid, err)
	}
	return apps.Version{Manifest: m, ImageID: image.ID, User: user, Slot: apps.SlotA, Data: 1}, nil
}

// image finds an image in the engine's store, or fetches it.
func (d *Daemon) image(ctx context.Context, app, ref string) (docker.Image, error) {
	i, err := d.apps.engine.Image(ctx, ref)
	if !errors.Is(err, apps.ErrNotThere) {
		return i, err
	}
	text := "fetching image " + ref
	d.apps.Tell(appkeep.Event{App: app, Text: text})
	err = d.apps.engine.Pull(ctx, ref, func(done, total int64) {
		d.apps.Tell(appkeep.Event{App: app, Text: text, Done: done, Total: total})
	})
	if err != nil {
		return i, fmt.Errorf("app %q: %w: %w; is the name right, and can this host reach the registry?", app, api.ErrUnavailable, err)
	}
	return d.apps.engine.Image(ctx, ref)
}

// FollowApp implements api.Host.
func (d *Daemon) FollowApp(ctx context.Context, name string, after int64, send func(api.AppEvent) error) error {
	return d.apps.Follow(ctx, name, after, func(e appkeep.Event) error {
		return send(api.AppEvent{Seq: e.Seq, At: e.At, App: e.App, State: string(e.State), Text: e.Text, Done: e.Done, Total: e.Total})
	})
}

// LastAppEvent implements api.Host.
func (d *Daemon) LastAppEvent() int64 { return d.apps.Last() }

// AppLogs implements api.Host.
func (d *Daemon) AppLogs(ctx context.Context, name string, tail int, follow bool, send func(line string) error) error {
	s, _ := d.store.Current()
	a, there := s.Apps.App(name)
	if !there {
		return fmt.Errorf("app %q: %w; platformctl app list shows them", name, api.ErrNotFound)
	}
	// What containers wrote before they ended comes first, where the one that runs has not as many lines.
	container := apps.ContainerName(a.Name, a.Current.Slot)
	count := 0
	err := d.apps.engine.Logs(ctx, container, tail, false, &lineWriter{send: func(string) error { count++; return nil }})
	if err != nil && !errors.Is(err, apps.ErrNotThere) {
		return err
	}
	for _, line := range d.apps.LastWords(name, tail-count) {
		if err := send(line); err != nil {
			return err
		}
	}
	if err != nil && !follow {
		return nil // there is none
	}
	return d.apps.engine.Logs(ctx, container, tail, follow, &lineWriter{send: send})
}

// lineWriter sends whole lines.
type lineWriter struct {
	send func(string) error
	part strings.Builder
}

// maxLine is how long a line of an app's log may be before it is sent in parts.
const maxLine = 16 << 10

func (w *lineWriter) Write(p []byte) (int, error) {
	for _, b := range p {
		if b != '\n' && w.part.Len() < maxLine {
			w.part.WriteByte(b)
			continue
		}
		line := w.part.String()
		w.part.Reset()
		if b != '\n' {
			w.part.WriteByte(b)
		}
		if err := w.send(strings.TrimSuffix(line, "\r")); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

// ForgetApp implements api.Host: it removes the data and the secrets of an app that is not in the document.
func (d *Daemon) ForgetApp(ctx context.Context, name string) error {
	s, _ := d.store.Current()
	if _, there := s.Apps.App(name); there {
		return fmt.Errorf("forget app %q: it is installed", name)
	}
	if err := d.apps.Gone(ctx, name); err != nil {
		return err
	}
	return errors.Join(d.apps.vault.Forget(ctx, name), os.RemoveAll(filepath.Join(appsDir(d.cfg.DataDir), name)))
}
