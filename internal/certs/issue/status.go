package issue

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/crypto/ocsp"

	"github.com/platformd/platformd/internal/certs/order"
)

// renewal asks when a certificate should be renewed (RFC 9773). A CA that does not say is no error: the result has no window.
func (c *conversation) renewal(ctx context.Context) order.Result {
	var dir struct {
		RenewalInfo string `json:"renewalInfo"`
	}
	if _, err := c.get(ctx, c.job.Directory, &dir); err != nil {
		return c.watch.explain(err)
	}
	if dir.RenewalInfo == "" {
		return order.Result{}
	}
	chain, err := chain(c.job.Chain)
	if err != nil {
		return order.Result{Error: err.Error()}
	}
	id, err := renewalID(chain[0])
	if err != nil {
		return order.Result{Error: err.Error()}
	}
	var info struct {
		Window struct {
			Start time.Time `json:"start"`
			End   time.Time `json:"end"`
		} `json:"suggestedWindow"`
	}
	header, err := c.get(ctx, strings.TrimSuffix(dir.RenewalInfo, "/")+"/"+id, &info)
	if err != nil {
		return c.watch.explain(err)
	}
	return order.Result{Start: info.Window.Start, End: info.Window.End, RetryAfter: retryAfter(header.Get("Retry-After"), time.Now())}
}

// renewalID names a certificate by its issuer's key and its serial number (RFC 9773, section 4.1).
func renewalID(c *x509.Certificate) (string, error) {
	if len(c.AuthorityKeyId) == 0 || c.SerialNumber == nil {
		return "", errors.New("the certificate does not name its issuer's key")
	}
	serial := c.SerialNumber.Bytes()
	if len(serial) == 0 || serial[0]&0x80 != 0 { // as DER has it
		serial = append([]byte{0}, serial...)
	}
	e := base64.RawURLEncoding
	return e.EncodeToString(c.AuthorityKeyId) + "." + e.EncodeToString(serial), nil
}

func (c *conversation) get(ctx context.Context, url string, into any) (http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", c.job.UserAgent)
	resp, err := c.client.HTTPClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the CA answered %d", resp.StatusCode)
	}
	return resp.Header, json.NewDecoder(io.LimitReader(resp.Body, maxAnswer)).Decode(into)
}

func chain(data []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for len(data) > 0 && len(out) < 10 {
		var b *pem.Block
		if b, data = pem.Decode(data); b == nil {
			break
		}
		c, err := x509.ParseCertificate(b.Bytes)
		if err != nil {
			return nil, errors.New("the certificate cannot be read")
		}
		out = append(out, c)
	}
	if len(out) == 0 {
		return nil, errors.New("the job has no certificate")
	}
	return out, nil
}

// staple asks the certificate's responder whether it is revoked. One without a responder is no error.
func staple(ctx context.Context, job order.Job) order.Result {
	certs, err := chain(job.Chain)
	if err != nil {
		return order.Result{Error: err.Error()}
	}
	if len(certs) < 2 || len(certs[0].OCSPServer) == 0 {
		return order.Result{}
	}
	fail := func(err error) order.Result { return order.Result{Error: order.Clean(err.Error())} }
	where, err := url.Parse(certs[0].OCSPServer[0])
	if err != nil || where.Scheme != "http" && where.Scheme != "https" {
		return fail(fmt.Errorf("responder %q is not a URL", certs[0].OCSPServer[0]))
	}
	question, err := ocsp.CreateRequest(certs[0], certs[1], nil)
	if err != nil {
		return fail(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, where.String(), bytes.NewReader(question))
	if err != nil {
		return fail(err)
	}
	req.Header.Set("Content-Type", "application/ocsp-request")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fail(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return fail(err)
	}
	parsed, err := ocsp.ParseResponseForCert(answer, certs[0], certs[1])
	if err != nil {
		return fail(err)
	}
	return order.Result{Staple: answer, End: parsed.NextUpdate, Start: parsed.ThisUpdate}
}
