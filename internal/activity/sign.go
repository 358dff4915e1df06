package activity

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/platformd/platformd/internal/sqlite"
)

// signer holds the key of the log.
type signer struct {
	key ed25519.PrivateKey
	// id names the key in what it signed.
	id string
}

// loadSigner reads the key file, 64 hexadecimal digits, or makes it; made says which. A file that cannot be a key is moved
// aside, because a log that is signed anew is better than none.
func loadSigner(path string, random io.Reader, now time.Time, logger *slog.Logger) (s signer, made bool, err error) {
	raw, err := os.ReadFile(path)
	switch {
	case err == nil:
		if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
			logger.Warn("key of the activity log was readable by others; corrected", "file", path, "mode", info.Mode().Perm().String())
			if err := os.Chmod(path, 0o600); err != nil {
				return signer{}, false, fmt.Errorf("key of the activity log: %w", err)
			}
		}
		seed, err := hex.DecodeString(strings.TrimSpace(string(raw)))
		if err == nil && len(seed) == ed25519.SeedSize {
			return newSigner(seed), false, nil
		}
		moved, err := sqlite.MoveAside(path, now)
		if err != nil {
			return signer{}, false, err
		}
		logger.Error("key of the activity log is damaged; a new one is made", "moved_to", moved)
	case !errors.Is(err, os.ErrNotExist):
		return signer{}, false, fmt.Errorf("key of the activity log: %w", err)
	}
	seed := make([]byte, ed25519.SeedSize)
	if _, err := io.ReadFull(random, seed); err != nil {
		return signer{}, false, fmt.Errorf("make key of the activity log: %w", err)
	}
	if err := sqlite.WriteFile(path, 0o600, []byte(hex.EncodeToString(seed)+"\n")); err != nil {
		return signer{}, false, fmt.Errorf("make key of the activity log: %w", err)
	}
	return newSigner(seed), true, nil
}

func newSigner(seed []byte) signer {
	key := ed25519.NewKeyFromSeed(seed)
	sum := sha256.Sum256(key.Public().(ed25519.PublicKey))
	return signer{key: key, id: hex.EncodeToString(sum[:8])}
}

func (s signer) sign(message []byte) []byte { return ed25519.Sign(s.key, message) }

// check says in words what is wrong with a signature; "" is nothing.
func (s signer) check(id string, message, signature []byte) string {
	switch {
	case id != s.id:
		return fmt.Sprintf("is signed with another key (%.16q, ours is %s)", id, s.id)
	case !ed25519.Verify(s.key.Public().(ed25519.PublicKey), message, signature):
		return "does not match its signature"
	}
	return ""
}

// head is the end of the chain, and its beginning where records have been removed from the front.
type head struct {
	chain []byte // random, made with the chain
	seq   int64
	hash  Hash
	// anchorSeq and anchorHash are the last record that was removed; 0 and the genesis of the chain at first.
	anchorSeq  int64
	anchorHash Hash
	// checkpoints is how many lines the checkpoint file had when this was signed; it may have had one more since.
	checkpoints int64
	keyID       string
	signature   []byte
}

func (h *head) message() []byte {
	b := []byte("platformd activity head 1\x00")
	b = binary.BigEndian.AppendUint64(b, uint64(len(h.chain)))
	b = append(b, h.chain...)
	for _, n := range []int64{h.seq, h.anchorSeq, h.checkpoints} {
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	b = append(b, h.hash[:]...)
	return append(b, h.anchorHash[:]...)
}

func genesis(chain []byte) Hash {
	return sha256.Sum256(append([]byte("platformd activity chain 1\x00"), chain...))
}
