// Package seal keeps secrets unreadable and unchangeable where they are stored.
// It promises that a sealed value opens only with the key that sealed it and
// only under the context it was sealed for, and that neither a key nor a
// plaintext ever appears in an error or a log.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
)

const (
	keySize = 32 // AES-256
	idSize  = 8

	redacted = "[seal key]"
)

// Key seals and opens values. It is safe for concurrent use and prints as
// "[seal key]".
type Key struct {
	aead cipher.AEAD
	id   [idSize]byte
}

func newKey(secret []byte) (*Key, error) {
	block, err := aes.NewCipher(secret)
	if err != nil {
		return nil, fmt.Errorf("make seal key: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("make seal key: %w", err)
	}
	return &Key{aead: aead, id: fingerprint(secret)}, nil
}

// fingerprint hashes under a label of its own, so that the id can never equal a
// digest that something else derives from the same secret.
func fingerprint(secret []byte) (id [idSize]byte) {
	sum := sha256.Sum256(append([]byte("cke seal key id v1\x00"), secret...))
	copy(id[:], sum[:])
	return id
}

// ID is a fingerprint of 16 hex digits, safe to print, by which a person tells
// keys apart.
func (k *Key) ID() string { return hex.EncodeToString(k.id[:]) }

// String hides the key.
func (k *Key) String() string { return redacted }

// GoString hides the key from %#v.
func (k *Key) GoString() string { return redacted }

// LogValue hides the key from slog.
func (k *Key) LogValue() slog.Value { return slog.StringValue(redacted) }
