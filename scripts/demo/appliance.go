package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// ready is how long platformd may take until its policy is in the kernel and verified.
const ready = 30 * time.Second

// machine is the appliance while it runs.
type machine struct {
	bin, folder string
	clients     map[string]*client
	out         *printer
	ca          *authority
	backend     string
}

func (m *machine) socket() string { return filepath.Join(m.folder, "api.sock") }
func (m *machine) log() string    { return filepath.Join(m.folder, "platformd.log") }

// authLog stands for the file in which sshd would complain of failed logins.
func (m *machine) authLog() string { return filepath.Join(m.folder, "auth.log") }

// appliance is the whole life of the process in the namespaces.
func appliance(ctx context.Context, bin, tools, folder string) error {
	if err := isolate(); err != nil {
		return err
	}
	all, err := buildNetwork()
	if err != nil {
		return err
	}
	m := &machine{bin: bin, folder: folder, clients: map[string]*client{}, out: newPrinter(os.Stdout)}
	for _, c := range all {
		m.clients[c.name] = c
	}
	for port, greeting := range services() {
		if err := serve(port, greeting); err != nil {
			return err
		}
	}
	daemon, stop, err := m.startDaemon(ctx)
	if err != nil {
		return err
	}
	defer stop()
	if err := m.untilReady(ctx, daemon); err != nil {
		return err
	}
	if m.ca, err = m.startAuthority(tools); err != nil {
		return err
	}
	if m.backend, err = siteBackend(); err != nil {
		return err
	}
	m.welcome()
	if os.Getenv("TOUR") != "0" {
		if err := m.tour(ctx); err != nil {
			return err
		}
	}
	if os.Getenv("ONCE") == "1" || ctx.Err() != nil {
		return nil
	}
	m.invite()
	select {
	case <-ctx.Done():
		m.out.say("\nstopped; everything is removed.")
		return nil
	case err := <-daemon:
		return m.withLog(fmt.Errorf("platformd ended by itself: %w", err))
	}
}

// startDaemon starts platformd. The channel tells when it has ended; stop ends it.
func (m *machine) startDaemon(context.Context) (ended <-chan error, stop func(), err error) {
	log, err := os.Create(m.log())
	if err != nil {
		return nil, nil, err
	}
	defer log.Close()
	if err := os.WriteFile(m.authLog(), nil, 0o600); err != nil {
		return nil, nil, err
	}
	cmd := exec.Command(filepath.Join(m.bin, "platformd"), "--data-dir", filepath.Join(m.folder, "data"), "--socket", m.socket(), "--auth-log", m.authLog(),
		"--http", plainAddress, "--https", secureAddress)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("start platformd: %w; build it first: make build", err)
	}
	done, over := make(chan error, 1), make(chan struct{})
	go func() {
		err := cmd.Wait()
		if err == nil {
			err = errors.New("status 0")
		}
		done <- err
		close(over)
	}()
	return done, func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-over:
		case <-time.After(5 * time.Second): // the namespace ends it
		}
	}, nil
}

// untilReady waits until "platformctl status" exits with 0: the policy in the kernel is verified.
func (m *machine) untilReady(ctx context.Context, ended <-chan error) error {
	ctx, cancel := context.WithTimeout(ctx, ready)
	defer cancel()
	var last []byte
	for {
		out, err := m.platformctl(ctx, "status").CombinedOutput()
		if err == nil {
			return nil
		}
		last = out
		select {
		case err := <-ended:
			return m.withLog(fmt.Errorf("platformd ended: %w", err))
		case <-ctx.Done():
			return m.withLog(fmt.Errorf("platformd is not ready after %v: platformctl status says: %s", ready, last))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (m *machine) platformctl(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(m.bin, "platformctl"), args...)
	cmd.Env = append(os.Environ(), "PLATFORM_SOCKET="+m.socket())
	return cmd
}

// withLog adds what platformd wrote, because the file goes with the folder.
func (m *machine) withLog(err error) error {
	data, readErr := os.ReadFile(m.log())
	if readErr != nil {
		return err
	}
	const most = 4 << 10
	if len(data) > most {
		data = data[len(data)-most:]
	}
	return fmt.Errorf("%w\nplatformd wrote:\n%s", err, data)
}

func (m *machine) welcome() {
	m.out.title("An appliance with platformd, on an internet of its own")
	m.out.say(`
    alice    203.0.113.7   2001:db8:a::7   |        |
                                           | router |--- appliance  198.51.100.10  2001:db8:10::10
    mallory  192.0.2.66    2001:db8:b::66  |        |               listens on 22, 80, 443, 5432
`)
}

func (m *machine) invite() {
	enter := "nsenter"
	if os.Getenv(envUser) != "" { // the namespaces belong to a user namespace
		enter = fmt.Sprintf("nsenter --user=%s --preserve-credentials", filepath.Join(m.folder, "user"))
	}
	m.out.title("Now it is yours")
	m.out.say(fmt.Sprintf(`
  In another terminal, in this folder:

    export PLATFORM_SOCKET=%s
    %s/platformctl status
    %[2]s/platformctl block 192.0.2.0/24 --for 10m --reason "try it"
    %[2]s/platformctl explain 192.0.2.66 --port 80
    %[2]s/platformctl drops --follow

  To be one of the clients, or to look at the kernel:

    %[3]s --net=%[4]s/mallory bash -c 'head -1 </dev/tcp/198.51.100.10/80'
    %[3]s --net=%[4]s/appliance nft list table inet platform

  To put a site of your own behind HTTPS, and to open it as a browser would:

    %[2]s/platformctl route add mine.test http://127.0.0.1:PORT
    %[3]s --net=%[4]s/alice curl --insecure --resolve '*:443:198.51.100.10' https://app.demo.test/

  What platformd logs: %[5]s
  Ctrl-C ends it and removes everything.`, m.socket(), m.bin, enter, m.folder, m.log()))
}
