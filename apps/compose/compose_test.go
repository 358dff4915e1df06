package compose

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

var update = flag.Bool("update", false, "write the reports and manifests of testdata again")

func imported(t *testing.T, file string, o Options) (*Result, []byte) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Import(data, o)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return r, data
}

// TestReports: what becomes of ten files in the style of well-known apps, to the line.
func TestReports(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yml")
	if err != nil || len(files) != 10 {
		t.Fatalf("got %d files, %v", len(files), err)
	}
	for _, file := range files {
		r, _ := imported(t, file, Options{})
		manifest, err := Encode(&r.Manifest)
		if err != nil {
			t.Fatal(err)
		}
		var got bytes.Buffer
		got.Write(manifest)
		got.WriteString("---\n")
		for _, l := range r.Lines {
			got.WriteString(l.String() + "\n")
		}
		golden := strings.TrimSuffix(file, ".yml") + ".report"
		if *update {
			if err := os.WriteFile(golden, got.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if got.String() != string(want) {
			t.Errorf("%s: got\n%s\nwant\n%s", file, got.String(), want)
		}
	}
}

// TestEveryKeyIsTold walks the files as they were written: each scalar has a line of the report, or is below one.
func TestEveryKeyIsTold(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.yml")
	checked := 0
	for _, file := range files {
		r, data := imported(t, file, Options{})
		told := map[string]bool{}
		for _, l := range r.Lines {
			told[l.Path] = l.Path != service(r.Service)
			if l.Line == 0 && strings.HasPrefix(l.Path, "services.") {
				t.Errorf("%s: %s has no line", file, l.Path)
			}
		}
		var raw map[string]any
		if err := yaml.Unmarshal(data, &raw); err != nil {
			t.Fatal(err)
		}
		walk(raw, "", func(leaf string) {
			checked++
			for p := leaf; p != ""; p = above(p) {
				// Items of a list may be told of as the fields that they are.
				if told[p] || slices.ContainsFunc(r.Lines, func(l Line) bool { return strings.HasPrefix(l.Path, p+".") || strings.HasPrefix(l.Path, p+"[") }) && strings.Count(p, ".") >= 2 {
					return
				}
			}
			t.Errorf("%s: nothing is said of %s", file, leaf)
		})
	}
	if checked < 200 {
		t.Errorf("only %d values were looked at", checked)
	}
}

// TestImport: what the ten files do not show.
func TestImport(t *testing.T) {
	for _, c := range []struct{ name, file, want string }{
		{"variables are given", "services: {a: {image: 'x:${TAG}', environment: {A: '${B}', C: '${D:-d}', HOME: }}}", "image: x:1\n|A: b|C: d|left out: has no value"},
		{"nothing of the machine is read", "services: {a: {image: x, environment: [HOME, 'P=${PATH}']}}", "environment.HOME: left out|environment.P: left out: needs a variable that has no value: ${PATH}"},
		{"same-file extends", "services: {b: {image: x, environment: {A: '1'}}, a: {extends: b, ports: ['80:80']}}", "A: \"1\"|services.b: left out"},
		{"other file", "services: {a: {image: x, extends: {file: /etc/passwd, service: y}}}", "extends: left out: leads to another file"},
		{"a key that nobody knows", "services: {a: {image: x, x-own: {b: 1}}}", "services.a.x-own.b: left out: is not known"},
		{"url of redis", "services: {a: {image: x, environment: {U: 'redis://cache:6379/1'}}, cache: {image: 'redis:7'}}", "U: redis://:${redis.password}@${redis.host}:${redis.port}/1"},
		{"dsn", "services: {a: {image: x, environment: {U: 'u:p@tcp(db:3306)/d'}}, db: {image: mariadb}}", "tcp(${mariadb.host}:${mariadb.port})"},
		{"folder of the system", "services: {a: {image: x, volumes: ['vol:/etc']}}", "volumes[0]: left out: /etc belongs to the system"},
		{"root", "services: {a: {image: x, user: '0:0'}}", "user: left out: an app never runs as root"},
		{"socket", "services: {a: {image: x, volumes: ['/run/docker.sock:/s']}}", "as good as root"},
		{"range of ports", "services: {a: {image: x, ports: ['7000-7002:7000-7002/udp']}}", "count: 3"},
		{"service with a dot", "services: {a.b: {image: x, privileged: true}}", `services["a.b"].privileged: left out`},
	} {
		r, err := Import([]byte(c.file), Options{Variables: map[string]string{"TAG": "1", "B": "b"}})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		m, err := Encode(&r.Manifest)
		if err != nil {
			t.Fatal(err)
		}
		got := string(m)
		for _, l := range r.Lines {
			got += l.String() + "\n"
		}
		for want := range strings.SplitSeq(c.want, "|") {
			if !strings.Contains(got, want) {
				t.Errorf("%s: got\n%s\nwant %q", c.name, got, want)
			}
		}
	}
}

// TestRefused: what gives no manifest at all, and why.
func TestRefused(t *testing.T) {
	for file, want := range map[string]string{
		"":             "it is not a mapping",
		"services: {}": "",
		"a: [":         "",
		"services: {a: {image: x, ports: ['${PORT}:80']}}":  "PORT",
		"services: {db: {image: postgres}}":                 "only databases",
		"services: {a: {build: .}}":                         "image: is missing",
		"services: {a: {image: x, volumes: 7}}":             "volumes",
		strings.Repeat("[", 100) + strings.Repeat("]", 100): "",
		"services: &a {b: *a}":                              "",
		strings.Repeat("#", maxBytes+1):                     "at most",
		"a: &a [1,1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c]\ne: [*d,*d,*d,*d,*d,*d,*d,*d,*d]\n": "values",
	} {
		if r, err := Import([]byte(file), Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.60q: got %+v, %v; want %q", file, r, err, want)
		}
	}
}

// FuzzImport: no text breaks the import.
func FuzzImport(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.yml")
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Import(data, Options{})
		if err != nil {
			return
		}
		if _, err := Encode(&r.Manifest); err != nil {
			t.Error(err)
		}
	})
}
