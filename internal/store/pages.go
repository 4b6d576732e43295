package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// The layout of a bbolt file (go.etcd.io/bbolt/internal/common: page.go,
// meta.go, bucket.go), version 2, in the machine's byte order.
const (
	boltMagic      = 0xED0CDAED
	boltVersion    = 2
	pageHeader     = 16 // id u64, flags u16, count u16, overflow u32
	elementSize    = 16
	metaSize       = 64
	metaSum        = 56 // where in it the checksum lies
	bucketHeader   = 16
	flagBranch     = 1
	flagLeaf       = 2
	leafBucketFlag = 1
)

// pageReader walks a bbolt file with ordinary reads and checks every bound. The
// library itself maps the file and trusts it: a bad page number there is a
// fault that ends the process, in a goroutine nobody can guard.
type pageReader struct {
	f        io.ReaderAt
	pageSize int64
	root     uint64
	end      uint64 // first page number not in use
	seen     map[uint64]bool
	visit    func(bucket, key, value []byte) error
}

// readPages calls visit for each key of each top-level bucket, in order. Slices
// are only valid during the call. Every reachable page is checked.
func readPages(path string, visit func(bucket, key, value []byte) error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	r := &pageReader{f: f, seen: map[uint64]bool{}, visit: visit}
	if err := r.readMeta(); err != nil {
		return err
	}
	if need := int64(r.end) * r.pageSize; info.Size() < need {
		return fmt.Errorf("the file has %d bytes of %d", info.Size(), need)
	}
	return r.walk(r.root, nil, span{})
}

// readMeta picks the newest of the two meta pages that is whole.
func (r *pageReader) readMeta() error {
	var newest uint64
	for shift := range 15 {
		size := int64(1024) << shift
		for page := range int64(2) {
			m, ok := readMetaAt(r.f, page*size, size)
			if txid := binary.NativeEndian.Uint64(m[48:]); ok && (r.pageSize == 0 || txid > newest) {
				newest, r.pageSize = txid, size
				r.root = binary.NativeEndian.Uint64(m[16:])
				r.end = binary.NativeEndian.Uint64(m[40:])
			}
		}
		if r.pageSize != 0 {
			return nil
		}
	}
	return errors.New("neither meta page is whole")
}

func readMetaAt(f io.ReaderAt, at, pageSize int64) (m [metaSize]byte, ok bool) {
	if _, err := f.ReadAt(m[:], at+pageHeader); err != nil {
		return m, false
	}
	sum := fnv.New64a()
	sum.Write(m[:metaSum])
	return m, binary.NativeEndian.Uint32(m[0:]) == boltMagic &&
		binary.NativeEndian.Uint32(m[4:]) == boltVersion &&
		int64(binary.NativeEndian.Uint32(m[8:])) == pageSize &&
		binary.NativeEndian.Uint64(m[metaSum:]) == sum.Sum64()
}

// span is the keys a page may hold: from min up to, not including, max. Nil
// is no bound.
type span struct{ min, max []byte }

func (s span) holds(key []byte) bool {
	return (s.min == nil || bytes.Compare(key, s.min) >= 0) && (s.max == nil || bytes.Compare(key, s.max) < 0)
}

// walk reads the page with this number and all below it. Bucket is nil for the
// root, whose values are the buckets.
func (r *pageReader) walk(id uint64, bucket []byte, keys span) error {
	page, err := r.page(id)
	if err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	switch flags := binary.NativeEndian.Uint16(page[8:]); flags {
	case flagBranch:
		err = r.branch(page, bucket, keys)
	case flagLeaf:
		err = r.leaf(page, bucket, keys)
	default:
		err = fmt.Errorf("flags %#x are neither a branch's nor a leaf's", flags)
	}
	if err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

// page reads a page with its overflow.
func (r *pageReader) page(id uint64) ([]byte, error) {
	if id < 2 || id >= r.end {
		return nil, fmt.Errorf("not within 2 and %d", r.end)
	}
	var h [pageHeader]byte
	if _, err := r.f.ReadAt(h[:], int64(id)*r.pageSize); err != nil {
		return nil, err
	}
	if own := binary.NativeEndian.Uint64(h[0:]); own != id {
		return nil, fmt.Errorf("calls itself %d", own)
	}
	pages := uint64(binary.NativeEndian.Uint32(h[12:])) + 1
	if id+pages > r.end {
		return nil, fmt.Errorf("reaches beyond page %d", r.end)
	}
	for i := id; i < id+pages; i++ {
		if r.seen[i] {
			return nil, fmt.Errorf("is referred to twice")
		}
		r.seen[i] = true
	}
	page := make([]byte, int64(pages)*r.pageSize)
	_, err := r.f.ReadAt(page, int64(id)*r.pageSize)
	return page, err
}

func (r *pageReader) branch(page, bucket []byte, keys span) error {
	var ids []uint64
	var firsts [][]byte
	for i := range elements(page) {
		at := pageHeader + i*elementSize
		key, _, err := keyValue(page, at, binary.NativeEndian.Uint32(page[at:]), binary.NativeEndian.Uint32(page[at+4:]), 0)
		if err != nil {
			return err
		}
		if i > 0 && bytes.Compare(firsts[i-1], key) >= 0 || keys.max != nil && bytes.Compare(key, keys.max) >= 0 {
			return fmt.Errorf("branch key %d is out of order", i)
		}
		ids = append(ids, binary.NativeEndian.Uint64(page[at+8:]))
		firsts = append(firsts, key)
	}
	if len(ids) == 0 || len(ids) != elements(page) {
		return errors.New("is a branch without children")
	}
	for i, id := range ids {
		below := span{firsts[i], keys.max}
		if i+1 < len(ids) {
			below.max = firsts[i+1]
		}
		if err := r.walk(id, bucket, below); err != nil {
			return err
		}
	}
	return nil
}

func (r *pageReader) leaf(page, bucket []byte, keys span) error {
	var last []byte
	for i := range elements(page) {
		at := pageHeader + i*elementSize
		if at+elementSize > len(page) {
			return errors.New("has more elements than fit")
		}
		u32 := func(o int) uint32 { return binary.NativeEndian.Uint32(page[at+o:]) }
		key, value, err := keyValue(page, at, u32(4), u32(8), u32(12))
		if err != nil {
			return err
		}
		if i > 0 && bytes.Compare(last, key) >= 0 || !keys.holds(key) {
			return fmt.Errorf("key %d is out of order", i)
		}
		last = key
		if err := r.element(u32(0), bucket, key, value); err != nil {
			return err
		}
	}
	return nil
}

func (r *pageReader) element(flags uint32, bucket, key, value []byte) error {
	switch {
	case bucket != nil && flags == 0:
		return r.visit(bucket, key, value)
	case bucket != nil || flags != leafBucketFlag || len(value) < bucketHeader:
		return fmt.Errorf("key %q has flags %#x", key, flags)
	}
	if id := binary.NativeEndian.Uint64(value); id != 0 {
		return r.walk(id, key, span{})
	}
	// A small bucket's only page lies in the value itself.
	inline := value[bucketHeader:]
	if len(inline) < pageHeader || binary.NativeEndian.Uint16(inline[8:]) != flagLeaf {
		return fmt.Errorf("bucket %q has no page", key)
	}
	return r.leaf(inline, key, span{})
}

// elements is how many a page says it has, bounded by what fits.
func elements(page []byte) int {
	return min(int(binary.NativeEndian.Uint16(page[10:])), 1+(len(page)-pageHeader)/elementSize)
}

// keyValue cuts key and value of the element at `at`; pos counts from there.
func keyValue(page []byte, at int, pos, klen, vlen uint32) (key, value []byte, err error) {
	from := int64(at) + int64(pos)
	mid, end := from+int64(klen), from+int64(klen)+int64(vlen)
	if from < pageHeader || end > int64(len(page)) {
		return nil, nil, errors.New("an element reaches beyond its page")
	}
	return page[from:mid], page[mid:end], nil
}
