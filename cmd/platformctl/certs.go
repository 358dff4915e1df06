package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/platformd/platformd/internal/api/wire"
)

func newCertsCommand(a *app) *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "List the certificates", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.runCertsList(cmd.Context()) }}
	show := &cobra.Command{Use: "show HOST", Short: "Show everything about the certificates of a name", Args: exactly(1, "certs show www.example.org"), ValidArgsFunction: a.completeCerts(),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runCertsShow(cmd.Context(), args[0]) }}
	test := &cobra.Command{Use: "test HOST", Short: "Look at everything that an order needs, without making one", Args: exactly(1, "certs test www.example.org"), ValidArgsFunction: a.completeCerts(),
		RunE: func(cmd *cobra.Command, args []string) error { return a.runCertsTest(cmd.Context(), args[0]) }}
	return noun("certs", "Certificates, and who issues them", list, show, test, newCertsSetupCommand(a), newCertsImportCommand(a), newCertsRenewCommand(a),
		newCertsRemoveCommand(a), newCertsNamesCommand(a, true), newCertsNamesCommand(a, false), newSecretCommand(a))
}

func (a *app) completeCerts() completion {
	return a.complete(1, func(ctx context.Context) ([]string, error) {
		list, err := a.client().Certs(ctx)
		return names(list, func(c wire.Cert) string { return c.Name + "\t" + c.Source }), err
	})
}

// host checks the form only; the daemon knows the lengths.
func (c *checker) host(s string) {
	name := strings.TrimPrefix(s, "*.")
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" || strings.Contains("."+name+".", "..") {
		c.bad("name %q: is not the name of a host; write it in lower case and in ASCII, such as www.example.org or *.example.org", s)
	}
}

func (a *app) runCertsList(ctx context.Context) error {
	list, err := a.client().Certs(ctx)
	if err != nil {
		return err
	}
	return a.show(list, func() {
		if len(list) == 0 {
			a.printf("no certificates; each name of a route gets one, and so does each of: platformctl certs add NAME\n")
			return
		}
		t := newTable("NAME", "SOURCE", "EXPIRES", "LEFT", "RENEWED", "STATE")
		for _, c := range list {
			t.row(c.Name, c.Source, when(c.Expires), a.left(c.Expires), when(c.RenewAt), stateOf(c))
		}
		a.print(t)
	})
}

func stateOf(c wire.Cert) string {
	var out []string
	if !c.InUse {
		out = append(out, "not in use")
	}
	for _, f := range c.Failures {
		out = append(out, fmt.Sprintf("%s failed %d times", f.CA, f.Times))
	}
	return strings.Join(out, ", ")
}

func (a *app) runCertsShow(ctx context.Context, name string) error {
	all, err := a.client().Certs(ctx)
	if err != nil {
		return err
	}
	var list []wire.Cert
	for _, c := range all {
		if c.Name == name {
			list = append(list, c)
		}
	}
	if len(list) == 0 {
		return &codedError{exitNotFound, fmt.Sprintf("certificate %s: there is none; platformctl certs list shows those there are", name)}
	}
	return a.show(list, func() {
		for _, c := range list {
			a.printCert(c)
		}
	})
}

func (a *app) printCert(c wire.Cert) {
	t := newTable("", "")
	field := func(name, value string) {
		if value != "" {
			t.rows = append(t.rows, []string{name, printable(value)})
		}
	}
	field("name", c.Name)
	field("good for", strings.Join(c.Names, ", "))
	field("source", c.Source)
	field("issuer", c.Issuer)
	field("serial", c.Serial)
	field("SHA-256", c.Fingerprint)
	field("valid from", when(c.NotBefore))
	field("valid until", when(c.Expires))
	field("renewed", when(c.RenewAt))
	field("state", stateOf(c))
	for _, f := range c.Failures {
		field("failed", fmt.Sprintf("%s at %s: %s; not asked before %s", f.CA, when(f.At), f.Reason, when(f.Next)))
	}
	for _, r := range t.rows {
		a.printf("%-12s %s\n", r[0], r[1])
	}
	a.printf("\n")
}

func (a *app) runCertsTest(ctx context.Context, name string) error {
	checks, err := a.client().TestCert(ctx, name)
	if err != nil {
		return err
	}
	bad := 0
	for _, c := range checks {
		if !c.OK {
			bad++
		}
	}
	err = a.show(checks, func() {
		for _, c := range checks {
			mark := a.paint(green, "ok  ")
			if !c.OK {
				mark = a.paint(red, "fail")
			}
			a.printf("%s  %s: %s\n", mark, printable(c.Name), printable(c.Message))
			if c.Remedy != "" {
				a.printf("      %s\n", printable(c.Remedy))
			}
		}
	})
	if err == nil && bad > 0 {
		err = &codedError{exitNotVerified, fmt.Sprintf("certificate %s: %d of %d checks failed", name, bad, len(checks))}
	}
	return err
}

func newCertsSetupCommand(a *app) *cobra.Command {
	var o changeOptions
	var email, root string
	var agree bool
	var ca wire.CertAuthority
	c := &cobra.Command{
		Use: "setup", Short: "Say who issues certificates", Args: noArgs,
		Long: `Say who issues certificates. No CA is contacted before an e-mail address and the agreement to its terms are given. Without --ca it
is Let's Encrypt; --ca puts another one before those that are there, which are asked where it does not issue.`,
		Example: "  platformctl certs setup --email admin@example.org --agree\n  platformctl certs setup --name lab --ca https://ca.lab.example/acme/directory --root lab-ca.pem",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var r wire.CertSetup
			if cmd.Flags().Changed("email") {
				r.Email = &email
			}
			if cmd.Flags().Changed("agree") {
				r.TermsAgreed = &agree
			}
			if ca.Directory != "" {
				if root != "" {
					pem, err := a.readFile(root)
					if err != nil {
						return err
					}
					ca.Root = string(pem)
				}
				r.CA = &ca
			} else if root != "" || ca.Profile != "" || ca.EABKID != "" || ca.EABSecret != "" {
				return usage("certs setup: --root, --profile and --eab-* are about a CA: name its directory with --ca")
			}
			if r.Email == nil && r.TermsAgreed == nil && r.CA == nil {
				return usage("certs setup: nothing is said; write for example: platformctl certs setup --email admin@example.org --agree")
			}
			res, err := a.client().SetUpCerts(cmd.Context(), o.Options, r)
			return a.changed(res, err, "set up certificates", "certificates are set up so")
		},
	}
	o.addFlags(c)
	f := c.Flags()
	f.StringVar(&email, "email", "", "where a CA writes to")
	f.BoolVar(&agree, "agree", false, "you have read the terms of your CA, and agree; --agree=false takes it back")
	f.StringVar(&ca.Directory, "ca", "", "https URL of the directory of a CA that speaks ACME")
	f.StringVar(&ca.Name, "name", "ca", "what to call that CA")
	f.StringVar(&root, "root", "", "file with the root that its HTTPS certificate is verified by, in PEM")
	f.StringVar(&ca.Profile, "profile", "", "one of the profiles that the CA offers")
	f.StringVar(&ca.EABKID, "eab-kid", "", "key identifier of an account that exists elsewhere")
	f.StringVar(&ca.EABSecret, "eab-secret", "", "name of the stored secret with its MAC key")
	return c
}

func newCertsImportCommand(a *app) *cobra.Command {
	var o changeOptions
	var password bool
	c := &cobra.Command{
		Use: "import HOST CERT [KEY]", Short: "Take a certificate of your own into use",
		Long: `Take a certificate of your own into use for a name. CERT is a chain in PEM, your own certificate first, with the private key in KEY
or in the same file; or a PKCS#12 file. It is preferred to one of a CA until it ends, and no CA is asked for the name meanwhile.`,
		Example: "  platformctl certs import www.example.org fullchain.pem privkey.pem\n  platformctl certs import www.example.org bundle.p12 --password-stdin < password",
		Args:    needs(2, "certs import www.example.org fullchain.pem privkey.pem"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 3 {
				return usage("certs import: takes a name and one or two files, but was given %d arguments", len(args))
			}
			var check checker
			check.host(args[0])
			if err := check.err(); err != nil {
				return err
			}
			var in wire.CertImport
			var err error
			if in.Certificate, err = a.readFile(args[1]); err != nil {
				return err
			}
			if len(args) == 3 {
				if in.Key, err = a.readFile(args[2]); err != nil {
					return err
				}
			}
			if password {
				line, err := a.readFile("-")
				if err != nil {
					return err
				}
				in.Password = strings.TrimRight(string(line), "\r\n")
			}
			res, err := a.client().ImportCert(cmd.Context(), o.Options, args[0], in)
			if err != nil {
				return err
			}
			return a.show(res, func() {
				if o.DryRun {
					a.printf("dry run: nothing was changed; it could be imported for %s, and is valid until %s\n", args[0], when(res.Expires))
					return
				}
				a.printf("imported the certificate of %s, valid until %s\n", args[0], when(res.Expires))
			})
		},
	}
	dryRunFlag(c, &o)
	c.Flags().BoolVar(&password, "password-stdin", false, "read the password of a PKCS#12 file from the standard input")
	return c
}

// dryRunFlag is for changes that are no change of the document.
func dryRunFlag(c *cobra.Command, o *changeOptions) {
	c.Flags().BoolVarP(&o.DryRun, "dry-run", "n", false, "say what would change, and change nothing")
}

func newCertsRenewCommand(a *app) *cobra.Command {
	var o changeOptions
	c := &cobra.Command{Use: "renew HOST", Short: "Ask the CAs for a certificate now; it may take minutes", Args: exactly(1, "certs renew www.example.org"), ValidArgsFunction: a.completeCerts(),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.DryRun {
				return a.runCertsTest(cmd.Context(), args[0])
			}
			fmt.Fprintf(a.err, "ordering a certificate for %s ...\n", printable(args[0]))
			res, err := a.client().RenewCert(cmd.Context(), o.Options, args[0])
			if err != nil {
				return err
			}
			return a.show(res, func() {
				a.printf("%s has a certificate of %s, valid until %s\n", res.Name, strings.TrimPrefix(res.Source, "acme:"), when(res.Expires))
			})
		}}
	c.Flags().BoolVarP(&o.DryRun, "dry-run", "n", false, "only look at what an order needs, as certs test does")
	c.Flags().BoolVar(&o.Force, "force", false, "ask also a CA that said it is asked too much")
	return c
}

func newCertsRemoveCommand(a *app) *cobra.Command {
	var o changeOptions
	var kind string
	c := &cobra.Command{Use: "remove HOST", Short: "Remove a certificate", Args: exactly(1, "certs remove www.example.org"), ValidArgsFunction: a.completeCerts(),
		Long: "Remove the certificate of a name. A name that is wanted has a self-signed one at once, and a CA is asked where that is allowed.",
		RunE: func(cmd *cobra.Command, args []string) error {
			res, err := a.client().RemoveCert(cmd.Context(), o.Options, args[0], kind)
			if err != nil {
				return err
			}
			return a.show(res, func() {
				if o.DryRun {
					a.printf("dry run: nothing was changed; the %s certificate of %s would be removed\n", res.Source, res.Name)
					return
				}
				a.printf("removed the %s certificate of %s\n", res.Source, res.Name)
			})
		}}
	dryRunFlag(c, &o)
	c.Flags().StringVar(&kind, "kind", "", "imported, acme or self-signed; the one in use where it is not given")
	return c
}

func newCertsNamesCommand(a *app, add bool) *cobra.Command {
	var o changeOptions
	use, short, done, same := "add NAME ...", "Want certificates for names beside those of the routes", "certificates are wanted for ", "certificates were wanted already for "
	if !add {
		use, short, done, same = "drop NAME ...", "Want no certificates for names any more", "no certificates are wanted for ", "no certificates were wanted for "
	}
	verb, _, _ := strings.Cut(use, " ")
	c := &cobra.Command{Use: use, Short: short, Args: needs(1, "certs "+verb+" www.example.org"), RunE: func(cmd *cobra.Command, args []string) error {
		var check checker
		for _, n := range args {
			check.host(n)
		}
		if err := check.err(); err != nil {
			return err
		}
		send := a.client().AddCertNames
		if !add {
			send = a.client().RemoveCertNames
		}
		r, err := send(cmd.Context(), o.Options, args...)
		return a.changed(r, err, done+strings.Join(args, ", "), same+strings.Join(args, ", "))
	}}
	o.addFlags(c)
	return c
}

func newSecretCommand(a *app) *cobra.Command {
	list := &cobra.Command{Use: "list", Short: "List the stored secrets, without their values", Args: noArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		list, err := a.client().Secrets(cmd.Context())
		if err != nil {
			return err
		}
		return a.show(list, func() {
			if len(list) == 0 {
				a.printf("no secrets are stored; store one with: platformctl certs secret set NAME < FILE\n")
				return
			}
			t := newTable("NAME", "CHANGED")
			for _, s := range list {
				t.row(s.Name, when(s.Changed))
			}
			a.print(t)
		})
	}}
	set := &cobra.Command{Use: "set NAME", Short: "Store what the standard input says as a secret", Args: exactly(1, "certs secret set zone < token"),
		Long: "Store a secret of a DNS provider or CA, read from the standard input. It is encrypted on disk, shown nowhere, and named by certs.dns[].secret or certs.cas[].eab.secret.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if f, ok := a.in.(*os.File); ok && a.colours(f) {
				fmt.Fprintln(a.err, "type the secret, then Ctrl-D:")
			}
			value, err := a.readFile("-")
			if err != nil {
				return err
			}
			value = []byte(strings.TrimRight(string(value), "\r\n"))
			if err := a.client().SetSecret(cmd.Context(), args[0], value); err != nil {
				return err
			}
			return a.show(map[string]string{"stored": args[0]}, func() { a.printf("stored the secret %s\n", args[0]) })
		}}
	remove := &cobra.Command{Use: "remove NAME", Short: "Remove a stored secret", Args: exactly(1, "certs secret remove zone"), RunE: func(cmd *cobra.Command, args []string) error {
		if err := a.client().RemoveSecret(cmd.Context(), args[0]); err != nil {
			return err
		}
		return a.show(map[string]string{"removed": args[0]}, func() { a.printf("removed the secret %s\n", args[0]) })
	}}
	return noun("secret", "Secrets of DNS providers and CAs", list, set, remove)
}
