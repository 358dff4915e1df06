package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// tourist takes the tour and remembers what was not as it should be.
type tourist struct {
	*machine
	ctx   context.Context
	wrong []string
}

// tour shows packets that pass and packets that do not. Its error names every place where the appliance did something
// else than the tour says.
func (m *machine) tour(ctx context.Context) error {
	t := &tourist{machine: m, ctx: ctx}
	for _, stop := range []func(){t.ports, t.site, t.block, t.geo, t.limit, t.ban, t.look, t.history} {
		if ctx.Err() != nil {
			return nil
		}
		stop()
	}
	if len(t.wrong) > 0 && ctx.Err() == nil {
		return m.withLog(errors.New("the tour was not as it should be: " + strings.Join(t.wrong, "; ")))
	}
	return nil
}

// run types a command and shows what it prints.
func (t *tourist) run(line string) string {
	const most = 24
	t.out.command(line)
	out, err := t.platformctl(t.ctx, words(line)...).CombinedOutput()
	t.out.output(string(out), most)
	if err != nil {
		t.out.say("    (" + err.Error() + ")")
		t.wrong = append(t.wrong, "platformctl "+line+": "+err.Error())
	}
	return string(out)
}

// words splits a line as a shell does; only double quotes are known.
func words(line string) []string {
	var out []string
	for i, part := range strings.Split(line, `"`) {
		if i%2 == 1 {
			out = append(out, part)
			continue
		}
		out = append(out, strings.Fields(part)...)
	}
	return out
}

func (t *tourist) expect(what string, got, want bool, yes, no string) {
	t.out.seen(what, got, want, yes, no)
	if got != want {
		t.wrong = append(t.wrong, what)
	}
}

// connects has a client connect by IPv4 and by IPv6.
func (t *tourist) connects(name string, port uint16, want bool) {
	t.connectsFrom(name, port, false, want)
}

func (t *tourist) connectsFrom(name string, port uint16, abroad, want bool) {
	c := t.clients[name]
	for _, v6 := range []bool{false, true} {
		what := fmt.Sprintf("%s, from %v, to port %d", name, c.addr(v6, abroad), port)
		t.expect(what, c.reaches(port, v6, abroad), want, "connected", "no answer")
	}
}

func (t *tourist) ports() {
	t.out.title("Closed, but for what was opened")
	t.run("ports list")
	t.connects("alice", 80, true)
	t.connects("alice", 5432, false)
	t.run("ports open 5432/tcp --from 203.0.113.0/24,2001:db8:a::/64 --name database")
	t.connects("alice", 5432, true)
	t.connects("mallory", 5432, false)
}

func (t *tourist) site() {
	t.out.title("A site behind HTTPS, with a certificate from the authority of this internet")
	t.run("certs setup --email admin@demo.test --agree --ca " + t.ca.directory + " --root " + t.ca.rootFile)
	t.run("route add app.demo.test " + t.backend)
	roots, err := t.ca.roots()
	if err != nil {
		t.wrong = append(t.wrong, err.Error())
		return
	}
	for _, v6 := range []bool{false, true} {
		alice := t.clients["alice"]
		want := fmt.Sprintf("hello %v, this is app.demo.test\n", alice.addr(v6, false))
		var got string
		for end := time.Now().Add(ready); time.Now().Before(end) && t.ctx.Err() == nil; time.Sleep(beat) { // the authority takes a moment
			if got, err = alice.opens(t.ctx, roots, "app.demo.test", v6); err == nil {
				break
			}
		}
		if err != nil {
			t.out.say("    (" + err.Error() + ")")
		}
		t.expect(fmt.Sprintf("alice, from %v, opens https://app.demo.test/ and knows who signed it", alice.addr(v6, false)), got == want, true, "she is greeted by her address", "not so")
	}
	t.run("certs list")
	t.run("proxy status")
}

func (t *tourist) block() {
	t.out.title("Blocked at once, open connections too")
	mallory := t.clients["mallory"]
	open4, open6 := mallory.call(80, false, false), mallory.call(80, true, false)
	if open4 == nil || open6 == nil {
		t.expect("mallory opens a connection to port 80", false, true, "connected", "no answer")
		return
	}
	defer open4.Close()
	defer open6.Close()
	t.out.say("  mallory holds two connections to port 80, on which the server speaks ten times a second")
	t.run(`block 192.0.2.0/24 2001:db8:b::/48 --for 1h --reason "scans us"`)
	t.expect("mallory's open IPv4 connection", falls(open4), true, "was cut off", "goes on")
	t.expect("mallory's open IPv6 connection", falls(open6), true, "was cut off", "goes on")
	t.connects("mallory", 80, false)
	t.connects("alice", 80, true)
	t.run("explain 192.0.2.66 --port 80")
	t.run("unblock 192.0.2.0/24 2001:db8:b::/48")
	t.connects("mallory", 80, true)
}

func (t *tourist) geo() {
	t.out.title("By country")
	for end := time.Now().Add(ready); time.Now().Before(end); time.Sleep(beat) { // it is read beside everything else
		if t.platformctl(t.ctx, "geo", "lookup", "193.0.6.139").Run() == nil {
			break
		}
	}
	t.run("geo lookup 193.0.6.139")
	t.connectsFrom("mallory", 80, true, true)
	t.run("geo block NL")
	t.connectsFrom("mallory", 80, true, false)
	t.connects("alice", 80, true)
}

func (t *tourist) limit() {
	t.out.title("SSH: five new connections, then one each two seconds")
	got := 0
	for range 8 {
		if conn := t.clients["alice"].call(22, false, false); conn != nil {
			conn.Close()
			got++
			continue
		}
		break
	}
	t.expect(fmt.Sprintf("alice, eight times at once to port 22: %d", got), got >= 5 && got < 8, true, "limited", "not limited")
}

func (t *tourist) ban() {
	t.out.title("Failed logins")
	var lines strings.Builder
	for i := range 6 {
		fmt.Fprintf(&lines, "%s appliance sshd[4711]: Failed password for invalid user admin from 192.0.2.66 port %d ssh2\n",
			time.Now().Format("Jan _2 15:04:05"), 40000+i)
	}
	t.out.say("  sshd logs six failed logins of mallory")
	if err := appendTo(t.authLog(), lines.String()); err != nil {
		t.wrong = append(t.wrong, err.Error())
		return
	}
	mallory := t.clients["mallory"]
	for end := time.Now().Add(10 * time.Second); mallory.reaches(80, false, false) && time.Now().Before(end); {
		time.Sleep(100 * time.Millisecond)
	}
	t.expect("mallory, from 192.0.2.66, to port 80", mallory.reaches(80, false, false), false, "connected", "no answer")
	t.run("bans list")
	t.run("bans remove 192.0.2.66")
	t.expect("mallory, from 192.0.2.66, to port 80", mallory.reaches(80, false, false), true, "connected", "no answer")
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

func (t *tourist) look() {
	t.out.title("Who was refused, and who changed what")
	t.run("top")
	t.run("drops --limit 12")
	t.run("proxy log")
	t.run("activity")
}

func (t *tourist) history() {
	t.out.title("Every change is a revision")
	t.run("history")
	t.run("diff 1 2")
	t.run("rollback 1")
	t.connects("alice", 5432, false)
	t.connectsFrom("mallory", 80, true, true)
	t.run("status")
}
