package judges

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// seen is one request as a back end saw it.
type seen struct {
	line      string // "METHOD target"
	host      string
	forwarded string // X-Forwarded-For
	status    string
}

// backend is a server that logs what it sees.
type backend struct {
	name string
	url  string
	log  func() []seen
}

// backends are one of each kind that people run.
func backends(t *testing.T) []*backend {
	return []*backend{netHTTP(t), nginx(t), apache(t), gunicorn(t)}
}

func netHTTP(t *testing.T) *backend {
	var mu sync.Mutex
	var list []seen
	url := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := "200"
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			status = "cut"
		}
		mu.Lock()
		defer mu.Unlock()
		list = append(list, seen{r.Method + " " + r.RequestURI, r.Host, strings.Join(r.Header["X-Forwarded-For"], "|"), status})
	}))
	return &backend{"net/http", url, func() []seen {
		mu.Lock()
		defer mu.Unlock()
		return append([]seen(nil), list...)
	}}
}

// nginx logs with what separates nothing else.
func nginx(t *testing.T) *backend {
	dir, port := folder(t), freePort(t)
	write(t, dir, "nginx.conf", fmt.Sprintf(`
daemon off; worker_processes 1; pid %[1]s/pid; error_log %[1]s/error.log notice; user nobody nogroup;
events { worker_connections 256; }
http {
	log_format seen escape=none '$request\t$http_host\t$http_x_forwarded_for\t$status';
	access_log %[1]s/access.log seen;
	client_body_temp_path %[1]s/t1; proxy_temp_path %[1]s/t2; fastcgi_temp_path %[1]s/t3; uwsgi_temp_path %[1]s/t4; scgi_temp_path %[1]s/t5;
	server { listen 127.0.0.1:%[2]s; location / { return 200 "hello\n"; } }
}`, dir, port))
	background(t, dir, port, "nginx", "-c", dir+"/nginx.conf", "-e", dir+"/error.log", "-p", dir)
	return &backend{"nginx", "http://127.0.0.1:" + port, fileLog(t, dir, false)}
}

func apache(t *testing.T) *backend {
	dir, port := folder(t), freePort(t)
	modules := ""
	for _, m := range []string{"mpm_event", "authz_core", "alias", "unixd"} {
		if path := "/usr/lib/apache2/modules/mod_" + m + ".so"; exists(path) {
			modules += fmt.Sprintf("LoadModule %s_module %s\n", m, path)
		}
	}
	write(t, dir, "httpd.conf", modules+fmt.Sprintf(`
ServerRoot %[1]s
ServerName localhost
Listen 127.0.0.1:%[2]s
PidFile %[1]s/pid
DefaultRuntimeDir %[1]s
Mutex file:%[1]s default
User nobody
Group nogroup
DocumentRoot %[1]s
ServerLimit 1
StartServers 1
ThreadsPerChild 32
ThreadLimit 32
MaxRequestWorkers 32
KeepAliveTimeout 10
LogFormat "%%r\t%%{Host}i\t%%{X-Forwarded-For}i\t%%>s" seen
CustomLog %[1]s/access.log seen
ErrorLog %[1]s/error.log
<Directory %[1]s>
	Require all granted
</Directory>
`, dir, port))
	background(t, dir, port, "apache2", "-X", "-f", dir+"/httpd.conf")
	return &backend{"Apache httpd", "http://127.0.0.1:" + port, fileLog(t, dir, true)}
}

// gunicorn is gunicorn with a small WSGI application.
func gunicorn(t *testing.T) *backend {
	dir, port := folder(t), freePort(t)
	write(t, dir, "judged.py", `
import threading
lock = threading.Lock()
def app(env, start):
    status = "200"
    try:
        while env["wsgi.input"].read(65536): pass
    except Exception:
        status = "cut"
    with lock, open(LOG, "a", encoding="latin1") as f:
        f.write("%s %s %s\t%s\t%s\t%s\n" % (env["REQUEST_METHOD"], env["RAW_URI"], env["SERVER_PROTOCOL"], env.get("HTTP_HOST", ""), env.get("HTTP_X_FORWARDED_FOR", ""), status))
    start("200 OK", [("Content-Length", "6")])
    return [b"hello\n"]
LOG = "`+dir+`/access.log"
`)
	background(t, dir, port, "gunicorn", "--bind", "127.0.0.1:"+port, "--worker-class", "gthread", "--threads", "16", "--workers", "1", "--keep-alive", "10", "--chdir", dir,
		"--worker-tmp-dir", dir, "--error-logfile", dir+"/error.log", "judged:app")
	return &backend{"gunicorn", "http://127.0.0.1:" + port, fileLog(t, dir, false)}
}

// fileLog reads access.log of a folder. Apache escapes what is not printed.
func fileLog(t *testing.T, dir string, escapes bool) func() []seen {
	return func() []seen {
		data, err := os.ReadFile(filepath.Join(dir, "access.log"))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		var out []seen
		for line := range strings.Lines(string(data)) {
			f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
			if len(f) != 4 {
				t.Errorf("a back end logged %q", line)
				continue
			}
			request := f[0]
			if plain, err := strconv.Unquote(`"` + request + `"`); err == nil && escapes {
				request = plain
			}
			if i := strings.LastIndex(request, " HTTP/1."); i >= 0 {
				request = request[:i]
			}
			out = append(out, seen{request, f[1], f[2], f[3]})
		}
		return out
	}
}

// folder is one that the user nobody can enter.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "judged")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// freePort is a port of loopback that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l := listen(t, "127.0.0.1:0")
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// background runs a server until the test ends, and waits until it listens.
func background(t *testing.T, dir, port, name string, args ...string) {
	t.Helper()
	var out strings.Builder
	cmd := exec.CommandContext(t.Context(), tool(t, name), args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	own(cmd)
	cmd.Cancel = func() error { return syscall.Kill(cmd.Process.Pid, syscall.SIGTERM) }
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() { cmd.Wait(); close(gone) }()
	t.Cleanup(func() {
		syscall.Kill(cmd.Process.Pid, syscall.SIGTERM)
		select {
		case <-gone:
		case <-time.After(10 * time.Second):
		}
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-gone
		if errors, err := os.ReadFile(filepath.Join(dir, "error.log")); t.Failed() && err == nil {
			t.Logf("%s: %.4000s", name, errors)
		}
	})
	until(t, 20*time.Second, name+" listens", func() bool {
		select {
		case <-gone:
			log, _ := os.ReadFile(filepath.Join(dir, "error.log"))
			t.Fatalf("%s ended: %s%s", name, out.String(), log)
		default:
		}
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
}
