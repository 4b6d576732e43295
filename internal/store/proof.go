package store

import (
	"encoding/base64"
	"fmt"
)

// Proof shows to whoever has this store's seal key that a leader of the present epoch
// was there. Machines keep it beside the epoch: what one of them merely claims must not
// make this daemon believe that it was deposed. Empty while another leads.
func (s *Store) Proof() string {
	t := s.tenure.Load()
	if t == nil || s.ID() == "" { // one that is founded just now has no name yet
		return ""
	}
	t.proving.Do(func() {
		sealed, err := s.sealer.Seal(nil, proofOf(s.ID(), t.Epoch()))
		if err != nil {
			s.log.Warn("make a proof of the epoch", "epoch", t.Epoch(), "err", err) // hosts refuse an older leader all the same
			return
		}
		t.proof = base64.RawStdEncoding.EncodeToString(sealed)
	})
	return t.proof
}

// Proves says whether somebody led this store with that epoch, this daemon or another.
func (s *Store) Proves(epoch int64, proof string) bool {
	sealed, err := base64.RawStdEncoding.DecodeString(proof)
	if err != nil {
		return false
	}
	_, err = s.sealer.Open(sealed, proofOf(s.ID(), epoch))
	return err == nil
}

// proofOf is no key of the store, so that nothing that lies there can stand for it.
func proofOf(storeID string, epoch int64) string {
	return fmt.Sprintf("led %s %d", storeID, epoch)
}
