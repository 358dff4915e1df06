package certs

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// keyFile is what the key is called, in the data directory and as a credential of systemd.
const keyFile = "secrets.key"

// ErrNoKey: something was sealed, and the key is not there.
var ErrNoKey = errors.New("the key of what is stored is missing; put " + keyFile + " back")

// errSealed says that what is stored was sealed with another key, or changed.
var errSealed = errors.New("cannot be opened with the key of this host; was " + keyFile + " replaced? Put the old one back, or renew and import anew")

// sealer encrypts what must not be read from a copy of the database.
type sealer struct{ aead cipher.AEAD }

// openSealer reads the key, from systemd's credentials where there is one, else from the data directory, where it is made
// if it is not there. make forbids that where something was sealed before.
func openSealer(dir, credentials string, make bool) (*sealer, error) {
	key, err := os.ReadFile(filepath.Join(credentials, keyFile))
	if credentials == "" || errors.Is(err, fs.ErrNotExist) {
		key, err = fileKey(filepath.Join(dir, keyFile), make)
	}
	if errors.Is(err, fs.ErrNotExist) && !make {
		return nil, ErrNoKey
	}
	if err != nil {
		return nil, fmt.Errorf("read the key of secrets: %w", err)
	}
	if len(key) != 32 {
		return nil, fmt.Errorf("read the key of secrets: %s has %d bytes, and must have 32", keyFile, len(key))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return &sealer{aead}, err
}

func fileKey(path string, make bool) ([]byte, error) {
	key, err := os.ReadFile(path)
	if err == nil {
		// Whoever made it readable for others is not followed.
		err = os.Chmod(path, 0o600)
		return key, err
	}
	if !errors.Is(err, fs.ErrNotExist) || !make {
		return nil, err
	}
	key = append(key[:0], randomKey()...)
	// Written beside, and linked: a crash leaves a whole key or none.
	tmp, err := os.CreateTemp(filepath.Dir(path), ".key-*")
	if err != nil {
		return nil, err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(key)
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err != nil {
		return nil, err
	}
	return key, os.Rename(tmp.Name(), path)
}

func randomKey() []byte {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails (crypto/rand)
	return key
}

// seal binds the text to what it is for, so that rows cannot be exchanged.
func (s *sealer) seal(plain []byte, what string) []byte {
	return s.aead.Seal(nil, nil, plain, []byte(what))
}

func (s *sealer) open(sealed []byte, what string) (Secret, error) {
	plain, err := s.aead.Open(nil, nil, sealed, []byte(what))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, errSealed)
	}
	return plain, nil
}
