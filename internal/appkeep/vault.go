package appkeep

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/platformd/platformd/internal/secret"
	"github.com/platformd/platformd/internal/sqlite"
)

// Vault keeps the secrets of apps, sealed. Its methods are safe for concurrent use.
type Vault struct {
	db  *sqlite.DB
	box *secret.Box
}

const schema = `
CREATE TABLE secrets (
	app   TEXT NOT NULL,
	name  TEXT NOT NULL,
	value BLOB NOT NULL, -- sealed
	PRIMARY KEY (app, name)
) STRICT;`

// OpenVault opens or makes the vault in a folder. credentials is systemd's folder of credentials, or empty.
func OpenVault(ctx context.Context, dir, credentials string) (*Vault, error) {
	db, err := sqlite.Open(ctx, filepath.Join(dir, "apps.db"))
	if err != nil {
		return nil, err
	}
	fail := func(err error) (*Vault, error) {
		return nil, errors.Join(fmt.Errorf("open secrets of apps: %w", err), db.Close())
	}
	if err := db.Schema(ctx, 1, schema); err != nil {
		return fail(err)
	}
	var sealed int
	if err := db.Read.QueryRowContext(ctx, `SELECT count(*) FROM secrets`).Scan(&sealed); err != nil {
		return fail(db.Explain("read", err))
	}
	box, err := secret.Open(dir, credentials, sealed == 0)
	if err != nil {
		return fail(err)
	}
	return &Vault{db: db, box: box}, nil
}

// Close closes the vault.
func (v *Vault) Close() error { return v.db.Close() }

// Get is a secret of an app; ok is false where there is none.
func (v *Vault) Get(ctx context.Context, app, name string) (value secret.Secret, ok bool, err error) {
	var sealed []byte
	err = v.db.Read.QueryRowContext(ctx, `SELECT value FROM secrets WHERE app = ? AND name = ?`, app, name).Scan(&sealed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, v.db.Explain("read secret in", err)
	}
	value, err = v.box.Open(sealed, about(app, name))
	return value, err == nil, err
}

// Put stores a secret in the place of the one before.
func (v *Vault) Put(ctx context.Context, app, name string, value secret.Secret) error {
	_, err := v.db.Write.ExecContext(ctx, `INSERT OR REPLACE INTO secrets (app, name, value) VALUES (?, ?, ?)`, app, name, v.box.Seal(value, about(app, name)))
	return v.db.Explain("write secret in", err)
}

// Make is a secret of an app, which is made of so many random bytes where there is none yet.
func (v *Vault) Make(ctx context.Context, app, name string, bytes int) (secret.Secret, error) {
	if value, ok, err := v.Get(ctx, app, name); ok || err != nil {
		return value, err
	}
	raw := make([]byte, bytes)
	_, _ = rand.Read(raw) // never fails (crypto/rand)
	value := secret.Secret(hex.EncodeToString(raw))
	return value, v.Put(ctx, app, name, value)
}

// Forget removes all secrets of an app.
func (v *Vault) Forget(ctx context.Context, app string) error {
	_, err := v.db.Write.ExecContext(ctx, `DELETE FROM secrets WHERE app = ?`, app)
	return v.db.Explain("remove secrets in", err)
}

func about(app, name string) string { return "app " + app + " " + name }
