package backup

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
)

// The file format of bbolt (go.etcd.io/bbolt/internal/common, page.go and
// meta.go), as written on little-endian machines.
const (
	pageHeader = 16 // id uint64, flags uint16, count uint16, overflow uint32
	element    = 16
	bucketSize = 16 // root uint64, sequence uint64
	metaSize   = 64
	metaSum    = 56 // the last 8 bytes are FNV-1a of those before
	metaMagic  = 0xED0CDAED

	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10
	bucketLeaf   = 0x01

	minPageSize = 512
	maxPageSize = 64 << 10
)

var errLeadsOut = errors.New("it leads out of its page")

// pages walks a bbolt database. Its library, asked for the same, panics in a
// goroutine of its own where nobody can catch it: on a tree that leads out of
// the file, to a page that is another, or whose keys are out of order. A member
// whose disk is going bad sends just that, under a correct SHA-256.
type pages struct {
	data []byte
	size uint64 // of one page
	seen []bool // by page
	todo []subtree
}

// subtree is a page still to be walked and the range its keys must be in; nil
// is no bound.
type subtree struct {
	page      uint64
	from, end []byte
}

// checkPages says what is wrong with the tree of pages in data.
func checkPages(data []byte) error {
	m, ok := newestMeta(data)
	if !ok {
		return errors.New("it has no head of a bbolt database")
	}
	size := uint64(m.pageSize)
	if m.pages < 2 || m.pages > uint64(len(data))/size {
		return fmt.Errorf("its head counts %d pages of %d bytes; it has %d bytes", m.pages, size, len(data))
	}
	p := &pages{data: data, size: size, seen: make([]bool, m.pages), todo: []subtree{{page: m.root}}}
	if m.freelist != math.MaxUint64 { // none is kept, as etcd has it
		if err := p.freelist(m.freelist); err != nil {
			return err
		}
	}
	for len(p.todo) > 0 {
		next := p.todo[len(p.todo)-1]
		p.todo = p.todo[:len(p.todo)-1]
		if err := p.walk(next); err != nil {
			return err
		}
	}
	return nil
}

type meta struct {
	pageSize              uint32
	root, freelist, pages uint64
	transaction           uint64
}

// newestMeta reads both heads, of which a crash may have damaged one.
func newestMeta(data []byte) (meta, bool) {
	newest, ok := readMeta(data, 0)
	first, last := minPageSize, maxPageSize
	if ok {
		first, last = int(newest.pageSize), int(newest.pageSize)
	}
	for at := first; at <= last; at *= 2 {
		if m, valid := readMeta(data, at); valid && int(m.pageSize) == at && (!ok || m.transaction > newest.transaction) {
			newest, ok = m, true
		}
	}
	return newest, ok
}

func readMeta(data []byte, at int) (meta, bool) {
	if len(data) < at+pageHeader+metaSize {
		return meta{}, false
	}
	b := data[at+pageHeader:][:metaSize]
	sum := fnv.New64a()
	sum.Write(b[:metaSum])
	le := binary.LittleEndian
	m := meta{
		pageSize: le.Uint32(b[8:]), root: le.Uint64(b[16:]), freelist: le.Uint64(b[32:]),
		pages: le.Uint64(b[40:]), transaction: le.Uint64(b[48:]),
	}
	sane := m.pageSize >= minPageSize && m.pageSize <= maxPageSize && m.pageSize&(m.pageSize-1) == 0
	return m, sane && le.Uint32(b) == metaMagic && le.Uint64(b[metaSum:]) == sum.Sum64()
}

// page returns the bytes of a page with those that continue it, its one kind
// and how many elements it says it has.
func (p *pages) page(id uint64) (page []byte, kind uint16, count int, err error) {
	all := uint64(len(p.seen))
	if id < 2 || id >= all {
		return nil, 0, 0, fmt.Errorf("page %d is outside of its %d pages", id, all)
	}
	le := binary.LittleEndian
	b := p.data[id*p.size:]
	kind, more := le.Uint16(b[8:]), uint64(le.Uint32(b[12:]))
	if is := le.Uint64(b); is != id || more >= all-id {
		return nil, 0, 0, fmt.Errorf("page %d says it is page %d with %d more", id, is, more)
	}
	for i := id; i <= id+more; i++ {
		if p.seen[i] {
			return nil, 0, 0, fmt.Errorf("page %d is used twice", i)
		}
		p.seen[i] = true
	}
	return b[:(more+1)*p.size], kind, int(le.Uint16(b[10:])), nil
}

func (p *pages) freelist(id uint64) error {
	b, kind, count, err := p.page(id)
	if err != nil {
		return err
	}
	n := uint64(count)
	if n == math.MaxUint16 { // then the first entry is how many follow
		n = binary.LittleEndian.Uint64(b[pageHeader:])
	}
	if kind != freelistPage || n >= uint64(len(b)-pageHeader)/8 {
		return fmt.Errorf("page %d is not a list of free pages", id)
	}
	return nil
}

// walk checks one page and puts off those below it.
func (p *pages) walk(s subtree) error {
	b, kind, count, err := p.page(s.page)
	if err != nil {
		return err
	}
	if (kind != branchPage && kind != leafPage) || pageHeader+count*element > len(b) || (kind == branchPage && count == 0) {
		return fmt.Errorf("page %d has %d elements of kind %#x", s.page, count, kind)
	}
	var last []byte
	for i := range count {
		rest := b[pageHeader+i*element:]
		key, child, err := branch(rest)
		if kind == leafPage {
			key, err = p.leaf(rest)
		}
		if err != nil {
			return fmt.Errorf("page %d, element %d: %w", s.page, i, err)
		}
		if (i > 0 && bytes.Compare(last, key) >= 0) || bytes.Compare(key, s.from) < 0 || (s.end != nil && bytes.Compare(key, s.end) >= 0) {
			return fmt.Errorf("page %d, element %d: its key is out of order", s.page, i)
		}
		if kind == branchPage {
			if i > 0 {
				p.todo[len(p.todo)-1].end = key
			}
			p.todo = append(p.todo, subtree{page: child, from: key, end: s.end})
		}
		last = key
	}
	return nil
}

// branch reads an element of a branch page, with all of the page behind it.
func branch(b []byte) (key []byte, child uint64, err error) {
	le := binary.LittleEndian
	at, size := uint64(le.Uint32(b)), uint64(le.Uint32(b[4:]))
	if at+size > uint64(len(b)) {
		return nil, 0, errLeadsOut
	}
	return b[at : at+size], le.Uint64(b[8:]), nil
}

// leaf reads an element of a leaf page, with all of the page behind it, and
// puts off the bucket in it.
func (p *pages) leaf(b []byte) (key []byte, err error) {
	key, value, isBucket, err := entry(b)
	if err != nil || !isBucket {
		return key, err
	}
	if len(value) < bucketSize {
		return nil, fmt.Errorf("it is a bucket of %d bytes", len(value))
	}
	if root := binary.LittleEndian.Uint64(value); root != 0 {
		p.todo = append(p.todo, subtree{page: root})
		return key, nil
	}
	return key, inlineBucket(value[bucketSize:])
}

func entry(b []byte) (key, value []byte, isBucket bool, err error) {
	le := binary.LittleEndian
	at, keySize, valueSize := uint64(le.Uint32(b[4:])), uint64(le.Uint32(b[8:])), uint64(le.Uint32(b[12:]))
	if at+keySize+valueSize > uint64(len(b)) {
		return nil, nil, false, errLeadsOut
	}
	return b[at : at+keySize], b[at+keySize:][:valueSize], le.Uint32(b)&bucketLeaf != 0, nil
}

// inlineBucket checks a small bucket, whose only page lies within its value.
func inlineBucket(b []byte) error {
	le := binary.LittleEndian
	if len(b) < pageHeader || le.Uint16(b[8:]) != leafPage || pageHeader+int(le.Uint16(b[10:]))*element > len(b) {
		return errors.New("it is a bucket without its page")
	}
	for i := range int(le.Uint16(b[10:])) {
		if _, _, isBucket, err := entry(b[pageHeader+i*element:]); err != nil || isBucket {
			return errors.New("it is a small bucket with what cannot be in one")
		}
	}
	return nil
}
