package secret

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

// KeyFile is what the key is called, in the data directory and as a credential of systemd.
const KeyFile = "secrets.key"

// ErrNoKey: something was sealed, and the key is not there.
var ErrNoKey = errors.New("the key of what is stored is missing; put " + KeyFile + " back")

// ErrSealed says that what is stored was sealed with another key, or changed.
var ErrSealed = errors.New("cannot be opened with the key of this host; was " + KeyFile + " replaced? Put the old one back, or renew and import anew")

// Box encrypts what must not be read from a copy of the database.
type Box struct{ aead cipher.AEAD }

// Open reads the key, from systemd's credentials where there is one, else from the data directory, where it is made
// if it is not there. make forbids that where something was sealed before.
func Open(dir, credentials string, make bool) (*Box, error) {
	key, err := os.ReadFile(filepath.Join(credentials, KeyFile))
	if credentials == "" || errors.Is(err, fs.ErrNotExist) {
		key, err = fileKey(filepath.Join(dir, KeyFile), make)
	}
	if errors.Is(err, fs.ErrNotExist) && !make {
		return nil, ErrNoKey
	}
	if err != nil {
		return nil, fmt.Errorf("read the key of secrets: %w", err)
	}
	if len(key) != 32 {
		return nil, fmt.Errorf("read the key of secrets: %s has %d bytes, and must have 32", KeyFile, len(key))
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return &Box{aead}, err
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

// Seal binds the text to what it is for, so that rows cannot be exchanged.
func (b *Box) Seal(plain []byte, what string) []byte {
	return b.aead.Seal(nil, nil, plain, []byte(what))
}

// Open gives back what was sealed for the same thing.
func (b *Box) Open(sealed []byte, what string) (Secret, error) {
	plain, err := b.aead.Open(nil, nil, sealed, []byte(what))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, ErrSealed)
	}
	return plain, nil
}
