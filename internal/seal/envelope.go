package seal

import (
	"encoding/hex"
	"errors"
	"fmt"
)

// Why Open refuses.
var (
	// ErrWrongKey means that the value was sealed with another key. The error
	// that wraps it names both ids.
	ErrWrongKey = errors.New("sealed with another key")
	// ErrTampered means that the value is not what was sealed for this context:
	// changed, cut short, or moved here from elsewhere.
	ErrTampered = errors.New("sealed value is damaged or does not belong here")
)

// The envelope is: one version byte, the key's id, then what
// cipher.NewGCMWithRandomNonce makes (12 bytes of nonce, the ciphertext, 16 bytes
// of tag). Version, id and context are authenticated with it.
const (
	version    = 1
	headerSize = 1 + idSize
)

// Seal encrypts plaintext for context, the name under which the value is going
// to lie. The result is 37 bytes longer than the plaintext and different every
// time. An empty context is refused: such values could be exchanged.
func (k *Key) Seal(plaintext []byte, context string) ([]byte, error) {
	if context == "" {
		return nil, errors.New("seal value: the context is empty")
	}
	header := append([]byte{version}, k.id[:]...)
	out := make([]byte, headerSize, headerSize+len(plaintext)+k.aead.Overhead())
	copy(out, header)
	return k.aead.Seal(out, nil, plaintext, additional(header, context)), nil
}

// Open returns what was sealed for context. Errors wrap ErrWrongKey or
// ErrTampered.
func (k *Key) Open(sealed []byte, context string) ([]byte, error) {
	if len(sealed) < headerSize+k.aead.Overhead() {
		return nil, fmt.Errorf("open %q: %w: %d bytes are too few", context, ErrTampered, len(sealed))
	}
	header, body := sealed[:headerSize], sealed[headerSize:]
	if header[0] != version {
		return nil, fmt.Errorf("open %q: %w: unknown envelope version %d", context, ErrTampered, header[0])
	}
	if id := header[1:]; string(id) != string(k.id[:]) {
		return nil, fmt.Errorf("open %q: %w: the value needs key %s, this is key %s",
			context, ErrWrongKey, hex.EncodeToString(id), k.ID())
	}
	plaintext, err := k.aead.Open(nil, nil, body, additional(header, context))
	if err != nil {
		// The cipher's own text says less than the sentinel.
		return nil, fmt.Errorf("open %q: %w", context, ErrTampered)
	}
	return plaintext, nil
}

// additional is unambiguous because the header's length is fixed.
func additional(header []byte, context string) []byte {
	return append(append(make([]byte, 0, len(header)+len(context)), header...), context...)
}
