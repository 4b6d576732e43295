package pki

import (
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"math/big"
	"time"
)

// EmptyCRL is a revocation list without entries, valid until the CA's end. It is
// DER: etcd refuses every client when its list is PEM or missing. The list's
// number is the time of issue, so that later lists have higher ones.
func (ca *CA) EmptyCRL(now time.Time) ([]byte, error) {
	der, err := x509.CreateRevocationList(rand.Reader, &x509.RevocationList{
		Number:     big.NewInt(now.Unix()),
		ThisUpdate: now.Add(-backdate),
		NextUpdate: ca.cert.NotAfter,
	}, ca.cert, ca.key)
	if err != nil {
		return nil, fmt.Errorf("make revocation list of %s CA: %w", ca.role, err)
	}
	return der, nil
}
