package wire

import "time"

// Cert is a certificate of this host, without its key.
type Cert struct {
	Name        string        `json:"name" doc:"By which it is found; the first of its names where a CA issued it."`
	Names       []string      `json:"names" doc:"The hosts that it is good for."`
	Source      string        `json:"source" doc:"acme:CA, imported or self-signed."`
	InUse       bool          `json:"in_use" doc:"It is what clients of its name get."`
	Wanted      bool          `json:"wanted" doc:"A route or certs.names has its name."`
	Issuer      string        `json:"issuer"`
	Serial      string        `json:"serial"`
	Fingerprint string        `json:"fingerprint" doc:"SHA-256, in hex."`
	NotBefore   time.Time     `json:"not_before"`
	Expires     time.Time     `json:"expires"`
	RenewAt     time.Time     `json:"renew_at,omitzero" doc:"When a CA is asked for its successor; left out where none is."`
	Failures    []CertFailure `json:"failures,omitempty" doc:"What the CAs answered last, where they did not issue."`
}

// CertFailure is a CA that did not issue.
type CertFailure struct {
	CA      string    `json:"ca"`
	Times   int       `json:"times"`
	At      time.Time `json:"at"`
	Next    time.Time `json:"next" doc:"It is not asked before."`
	Problem string    `json:"problem,omitempty" doc:"The kind that the CA named (RFC 8555, section 6.7), or unreachable."`
	Reason  string    `json:"reason"`
}

// CertCheck is one thing that a test of a name looked at.
type CertCheck struct {
	Name    string `json:"name"`
	OK      bool   `json:"ok"`
	Message string `json:"message"`
	Remedy  string `json:"remedy,omitempty"`
}

// CertImport brings a certificate. Key may be left out where it is in Certificate.
type CertImport struct {
	Certificate []byte `json:"certificate" doc:"A chain in PEM, or a PKCS#12 file."`
	Key         []byte `json:"key,omitempty" doc:"The private key in PEM."`
	Password    string `json:"password,omitempty" doc:"Of a PKCS#12 file."`
}

// CertSetup says who issues certificates; what is left out stays as it is.
type CertSetup struct {
	Email       *string `json:"email,omitempty"`
	TermsAgreed *bool   `json:"terms_agreed,omitempty"`
	// CA is put before all others.
	CA *CertAuthority `json:"ca,omitempty"`
}

// CertAuthority is a CA that speaks ACME.
type CertAuthority struct {
	Name      string `json:"name"`
	Directory string `json:"directory"`
	Root      string `json:"root,omitempty" doc:"PEM of what its own HTTPS certificate is verified by; empty is what the system trusts."`
	Profile   string `json:"profile,omitempty"`
	EABKID    string `json:"eab_kid,omitempty"`
	EABSecret string `json:"eab_secret,omitempty" doc:"The name of the stored secret that holds the MAC key."`
}

// CertNames are names.
type CertNames struct {
	Names []string `json:"names"`
}

// SecretRequest stores a secret.
type SecretRequest struct {
	Value []byte `json:"value"`
}

// SecretInfo is what is shown of a stored secret.
type SecretInfo struct {
	Name    string    `json:"name"`
	Changed time.Time `json:"changed"`
}
