package main

import (
	"context"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/platformd/platformd/internal/api/wire"
	"github.com/platformd/platformd/proxy"
	"github.com/platformd/platformd/proxy/field"
	"github.com/platformd/platformd/proxy/upstream"
	"github.com/platformd/platformd/ratelimit"
)

type streamAddOptions struct {
	changeOptions
	stream           proxy.Stream
	group            upstream.Group
	server           upstream.Server
	tls, passthrough bool
	names            []string
	ca, clientCA     string // files
	health           string
	limit, total     string
	idle, first      string
	closed           bool
	request          wire.StreamOptions
}

func newStreamAddCommand(a *app) *cobra.Command {
	var o streamAddOptions
	c := &cobra.Command{
		Use: "add PORT[/udp] BACKEND ...", Short: "Add a stream",
		Long: `Add a stream. A back end is HOST:PORT, or tls://HOST:PORT for one that is talked to over TLS. Several take turns, and one that
cannot be reached leaves its turn to the next.`,
		Example: `  platformctl stream add 2222 10.0.0.7:22
  platformctl stream add 53/udp 127.0.0.1:5353
  platformctl stream add 5432 10.0.0.7:5432 10.0.0.8:5432 --tls --name db.example.org --alpn postgresql --health tcp
  platformctl stream add 8443 10.0.0.7:443 --passthrough --name a.example.org
  platformctl stream add 8443 10.0.0.8:443 --passthrough --name '*.b.example.org' --join
  platformctl stream add 993 127.0.0.1:10993 --proxy-protocol v2 --limit '10/m concurrent 20'`,
		Args: needs(2, "stream add 2222 10.0.0.7:22"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runStreamAdd(cmd.Context(), o, args) },
	}
	o.addFlags(c)
	f := c.Flags()
	f.BoolVar(&o.request.Replace, "replace", false, "put it in the place of a stream on the same port")
	f.BoolVar(&o.request.Join, "join", false, "only put its names beside those of the stream that is there")
	f.BoolVar(&o.tls, "tls", false, "end TLS here, by the certificates of --name")
	f.BoolVar(&o.passthrough, "passthrough", false, "leave TLS to the back end, and read only which server is asked for")
	f.StringSliceVar(&o.names, "name", nil, "server that clients of TLS ask for, such as db.example.org or *.example.org")
	f.StringSliceVar(&o.stream.Addresses, "address", nil, "listen on these addresses of the host alone")
	f.StringSliceVar(&o.stream.ALPN, "alpn", nil, "protocols to offer in TLS")
	f.StringVar(&o.clientCA, "client-ca", "", "file with the authority whose certificates clients must show, in PEM")
	f.StringVar(&o.server.SNIName, "sni", "", "name of a tls back end that is given by address")
	f.StringVar(&o.ca, "ca", "", "file with the authority of tls back ends, in PEM")
	f.StringVar(&o.server.ProxyProtocol, "proxy-protocol", "", "tell back ends who the client is: v1 or v2")
	f.BoolVar(&o.stream.AcceptProxyProtocol, "accept-proxy-protocol", false, "connections of trusted proxies begin with a PROXY header")
	f.StringVar(&o.group.Algorithm, "algorithm", "", "round_robin, least_conn, ip_hash or power_of_two")
	f.StringVar(&o.health, "health", "", "ask back ends whether they are well: tcp or tls")
	f.StringSliceVar(&o.stream.Allow, "allow", nil, "only these addresses or prefixes")
	f.StringSliceVar(&o.stream.Deny, "deny", nil, "not these addresses or prefixes; comes before --allow")
	f.StringVar(&o.limit, "limit", "", "of each client, such as '10/m concurrent 20', or off")
	f.StringVar(&o.total, "total", "", "of all clients together, such as 'concurrent 1000'")
	f.StringVar(&o.idle, "idle", "", "how long nothing may move, such as 1h; by default 10m, and 1m for UDP")
	f.StringVar(&o.first, "first", "", "how long a client may say nothing at first, such as 10s")
	f.BoolVar(&o.closed, "closed", false, "leave the port as the firewall has it, instead of opening it")
	for flag, values := range map[string][]string{"algorithm": {upstream.RoundRobin, upstream.LeastConn, upstream.IPHash, upstream.PowerOfTwo}, "health": {"tcp", "tls"}, "proxy-protocol": {"v1", "v2"}} {
		_ = c.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	}
	return c
}

func (a *app) runStreamAdd(ctx context.Context, o streamAddOptions, args []string) error {
	var check checker
	s, err := a.streamOf(&o, &check, args)
	if err == nil {
		check.add(s.Validate())
		err = check.err()
	}
	if err != nil {
		return err
	}
	res, err := a.client().AddStream(ctx, o.Options, s, o.request)
	what := s.Key() + " to " + strings.Join(args[1:], ", ")
	return a.changed(res, err, "streamed "+what, s.Key()+" leads to "+strings.Join(args[1:], ", "))
}

// streamOf makes a stream of a command line; what is wrong with the line goes to check.
func (a *app) streamOf(o *streamAddOptions, check *checker, args []string) (proxy.Stream, error) {
	s := o.stream
	number, protocol, given := strings.Cut(args[0], "/")
	var err error
	if s.Port, err = strconv.Atoi(number); err != nil {
		check.bad("port %q: must be a number from 1 to 65535", number)
		s.Port = 1 // which is told once
	}
	if given && protocol != proxy.StreamTCP {
		s.Protocol = protocol
	}
	switch {
	case o.tls && o.passthrough:
		check.bad("--tls and --passthrough exclude each other")
	case o.tls:
		s.Mode = proxy.StreamTLS
	case o.passthrough:
		s.Mode = proxy.StreamPassthrough
	}
	for file, into := range map[*string]*string{&o.ca: &o.server.CA, &o.clientCA: nil} {
		if *file == "" {
			continue
		}
		pem, err := a.readFile(*file)
		if err != nil {
			return s, err
		}
		if into == nil {
			s.ClientAuth = &proxy.ClientAuth{CA: string(pem)}
		} else {
			*into = string(pem)
		}
	}
	for _, arg := range args[1:] {
		server := o.server
		if server.URL = arg; !strings.Contains(arg, "://") {
			scheme := proxy.StreamTCP
			if s.UDP() {
				scheme = proxy.StreamUDP
			}
			server.URL = scheme + "://" + arg
		}
		o.group.Servers = append(o.group.Servers, server)
	}
	if o.health != "" {
		o.group.Health = &upstream.Health{Type: o.health}
	}
	if len(o.names) == 0 {
		s.Backend = &o.group
	}
	for _, n := range o.names {
		s.Names = append(s.Names, proxy.StreamName{Name: n, Backend: &o.group})
	}
	for _, l := range []struct {
		text string
		into **ratelimit.Limit
	}{{o.limit, &s.Limits.Client}, {o.total, &s.Limits.Total}} {
		if l.text != "" {
			v, err := ratelimit.Parse(l.text)
			check.add(err)
			*l.into = &v
		}
	}
	for _, d := range []struct {
		text string
		into *field.Duration
	}{{o.idle, &s.Timeouts.Idle}, {o.first, &s.Timeouts.First}} {
		check.duration(d.text)
		if d.text != "" {
			v, _ := wire.ParseDuration(d.text) // which was checked
			*d.into = field.Duration(v)
		}
	}
	if o.closed {
		s.Firewall = proxy.Off
	}
	return s, nil
}
