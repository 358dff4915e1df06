package main

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/platformd/platformd/proxy/field"
	"github.com/platformd/platformd/proxy/upstream"
)

// policies are the ways to choose a server, from what people type to what the document says.
func policies() map[string]string {
	return map[string]string{"round-robin": upstream.RoundRobin, "least-connections": upstream.LeastConn, "ip-hash": upstream.IPHash, "two-choices": upstream.PowerOfTwo}
}

func policyName(algorithm string) string {
	for name, a := range policies() {
		if a == algorithm {
			return name
		}
	}
	return "round-robin"
}

// groupOptions are the flags of add and of edit that are about a group as a whole.
type groupOptions struct {
	changeOptions
	policy, ca              string
	health                  upstream.Health
	interval, timeout, slow time.Duration
	retries, connections    int
	noHealth                bool
	add, set, remove        []string
	drain, undrain          []string
	replace                 bool
}

func (o *groupOptions) groupFlags(c *cobra.Command) {
	o.addFlags(c)
	f := c.Flags()
	f.StringVar(&o.policy, "policy", "", "who gets a request: round-robin (the default), least-connections, ip-hash, two-choices")
	f.StringVar(&o.health.Type, "health-type", "", "how servers are asked whether they are well: http, tls or tcp")
	f.StringVar(&o.health.Path, "health-path", "", "what http asks for, such as /healthz")
	f.StringVar(&o.health.Host, "health-host", "", "the Host of that request")
	f.IntSliceVar(&o.health.Statuses, "health-status", nil, "the answers of a server that is well; 200 by default")
	f.DurationVar(&o.interval, "health-interval", 0, "how often they are asked; 10s by default")
	f.DurationVar(&o.timeout, "health-timeout", 0, "how long an answer may take; 5s by default")
	f.IntVar(&o.health.Unhealthy, "unhealthy", 0, "how many checks in a row must fail; 3 by default")
	f.IntVar(&o.health.Healthy, "healthy", 0, "how many must succeed after that; 2 by default")
	f.DurationVar(&o.slow, "slow-start", 0, "how long a server that came back takes to get its full share")
	f.IntVar(&o.retries, "retries", 0, "how many other servers a request may be tried on; 0 is 1, -1 is none")
	f.IntVar(&o.connections, "max-connections", 0, "how many requests one server gets at once; 0 is no bound")
	f.StringVar(&o.ca, "ca", "", "file with the certificate of the authority that signs the https servers named here, in PEM")
	words := func(list []string) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return cobra.FixedCompletions(list, cobra.ShellCompDirectiveNoFileComp)
	}
	_ = c.RegisterFlagCompletionFunc("policy", words(slices.Sorted(maps.Keys(policies())))) // which fails for unknown flags only
	_ = c.RegisterFlagCompletionFunc("health-type", words([]string{"http", "tls", "tcp"}))
}

// edit makes a change of what was typed. Only flags that were given say anything.
func (o *groupOptions) edit(a *app, given func(flag string) bool, check *checker) upstream.Edit {
	var x upstream.Edit
	if o.policy != "" {
		algorithm, ok := policies()[o.policy]
		if !ok {
			check.bad("policy %q: choose round-robin, least-connections, ip-hash or two-choices", o.policy)
		}
		x.Algorithm = &algorithm
	}
	o.health.Interval, o.health.Timeout = field.Duration(o.interval), field.Duration(o.timeout)
	if slices.ContainsFunc([]string{"health-type", "health-path", "health-host", "health-status", "health-interval", "health-timeout", "unhealthy", "healthy"}, given) {
		x.Health = &o.health
	}
	x.NoHealth = o.noHealth
	if given("slow-start") {
		d := field.Duration(o.slow)
		x.SlowStart = &d
	}
	if given("retries") {
		x.Retries = &o.retries
	}
	if given("max-connections") {
		x.MaxConnections = &o.connections
	}
	ca := ""
	if o.ca != "" {
		data, err := a.readFile(o.ca)
		check.add(err)
		ca = string(data)
	}
	for _, text := range o.add {
		change, s := parseServer(text, ca, check), upstream.Server{}
		change.Apply(&s)
		s.URL = change.URL
		x.Add = append(x.Add, s)
	}
	for _, text := range o.set {
		x.Set = append(x.Set, parseServer(text, ca, check))
	}
	yes, no := true, false
	for _, url := range o.drain {
		x.Set = append(x.Set, upstream.ServerEdit{URL: url, Drain: &yes})
	}
	for _, url := range o.undrain {
		x.Set = append(x.Set, upstream.ServerEdit{URL: url, Drain: &no})
	}
	x.Remove = o.remove
	return x
}

// parseServer reads "http://10.0.0.1:8080,weight=3,backup". A ca is for those that speak TLS.
func parseServer(text, ca string, check *checker) upstream.ServerEdit {
	url, rest, _ := strings.Cut(text, ",")
	x := upstream.ServerEdit{URL: url}
	if ca != "" && strings.HasPrefix(url, "https:") {
		x.CA = &ca
	}
	for word := range strings.SplitSeq(rest, ",") {
		name, value, given := strings.Cut(word, "=")
		on := value != "no"
		switch {
		case word == "":
		case name == "weight":
			n, err := strconv.Atoi(value)
			if err != nil || n < 1 {
				check.bad("%s: weight %q: write a number from 1 to 1000", url, value)
			}
			x.Weight = &n
		case name == "sni" && given:
			x.SNIName = &value
		case name == "backup" && (!given || value == "no"):
			x.Backup = &on
		case name == "drain" && (!given || value == "no"):
			x.Drain = &on
		default:
			check.bad("%s: %q is not known; write weight=N, backup, drain or sni=NAME, and backup=no to take it back", url, word)
		}
	}
	return x
}

func newUpstreamAddCommand(a *app) *cobra.Command {
	var o groupOptions
	c := &cobra.Command{
		Use: "add NAME BACKEND ...", Short: "Add a group",
		Example: `  platformctl upstream add app http://10.0.0.1:8080 http://10.0.0.2:8080
  platformctl upstream add app http://10.0.0.1:8080,weight=3 http://10.0.0.2:8080 http://10.0.0.9:8080,backup --policy least-connections --health-path /healthz
  platformctl route add app.example.org upstream:app`,
		Args: needs(2, "upstream add app http://10.0.0.1:8080 http://10.0.0.2:8080"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var check checker
			o.add = args[1:]
			g := upstream.Group{Name: args[0], Servers: []upstream.Server{}}
			x := o.edit(a, cmd.Flags().Changed, &check)
			check.add(g.Edit(x))
			check.add(g.Validate())
			if err := check.err(); err != nil {
				return err
			}
			r, err := a.client().AddUpstream(cmd.Context(), o.Options, g, o.replace)
			return a.changed(r, err, fmt.Sprintf("added upstream %s of %d server(s)", g.Name, len(g.Servers)), "upstream "+g.Name+" is like that")
		},
	}
	o.groupFlags(c)
	c.Flags().BoolVar(&o.replace, "replace", false, "put it in the place of a group with the same name")
	return c
}

func newUpstreamEditCommand(a *app) *cobra.Command {
	var o groupOptions
	c := &cobra.Command{
		Use: "edit NAME", Short: "Change a group, or servers of it",
		Example: `  platformctl upstream edit app --drain http://10.0.0.2:8080
  platformctl upstream edit app --add http://10.0.0.3:8080 --remove http://10.0.0.1:8080
  platformctl upstream edit app --set http://10.0.0.2:8080,weight=5,backup=no --policy ip-hash`,
		Args: exactly(1, "upstream edit app --drain http://10.0.0.2:8080"), ValidArgsFunction: a.complete(1, a.upstreams),
		RunE: func(cmd *cobra.Command, args []string) error {
			var check checker
			x := o.edit(a, cmd.Flags().Changed, &check)
			if err := check.err(); err != nil {
				return err
			}
			if reflect.DeepEqual(x, upstream.Edit{}) {
				return usage("nothing is named that is to change; see: platformctl upstream edit --help")
			}
			r, err := a.client().EditUpstream(cmd.Context(), o.Options, args[0], x)
			return a.changed(r, err, "changed upstream "+args[0], "upstream "+args[0]+" is like that")
		},
	}
	o.groupFlags(c)
	f := c.Flags()
	f.StringArrayVar(&o.add, "add", nil, "a back end that it gets")
	f.StringArrayVar(&o.set, "set", nil, "a back end that it has, with what is to be changed behind commas")
	for _, l := range []struct {
		to         *[]string
		name, text string
	}{{&o.remove, "remove", "a back end that goes, by its URL"}, {&o.drain, "drain", "one that gets no new requests"}, {&o.undrain, "undrain", "one that gets requests again"}} {
		f.StringArrayVar(l.to, l.name, nil, l.text)
		_ = c.RegisterFlagCompletionFunc(l.name, a.completeServers) // which fails for unknown flags only
	}
	f.BoolVar(&o.noHealth, "no-health", false, "ask the servers no more")
	return c
}

// completeServers are the URLs of the group that is the first word.
func (a *app) completeServers(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
	return a.complete(0, func(ctx context.Context) ([]string, error) {
		if len(args) == 0 {
			return nil, nil
		}
		u, err := a.client().Upstream(ctx, args[0])
		return names(u.Servers, func(s upstream.Server) string { return s.URL }), err
	})(cmd, args, typed)
}
