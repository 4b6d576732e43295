// Package nfqueue delays packets. The kernel's own way to do so, the queueing
// discipline netem, is not built into every kernel; netfilter's queues are: a
// firewall rule hands packets to a program, and they wait for its verdict.
//
// The messages are those of linux/netfilter/nfnetlink_queue.h.
package nfqueue

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/sys/unix"
)

const (
	subsystem = 3 << 8 // NFNL_SUBSYS_QUEUE

	msgPacket  = subsystem + 0
	msgVerdict = subsystem + 1
	msgConfig  = subsystem + 2

	attrPacketHeader = 1 // NFQA_PACKET_HDR
	attrVerdict      = 2 // NFQA_VERDICT_HDR

	configCommand   = 1 // NFQA_CFG_CMD
	configCopy      = 2 // NFQA_CFG_PARAMS
	configMaxLength = 3 // NFQA_CFG_QUEUE_MAXLEN

	accept = 1 // NF_ACCEPT

	headers = 16 + 4 // nlmsghdr and nfgenmsg
)

// Delay holds every packet of a queue for wait and up to jitter longer, until
// the process ends; packets held then are lost. It calls ready when it has the
// queue. The queue is the one of this process's network namespace.
func Delay(queue uint16, wait, jitter time.Duration, ready func()) error {
	q, err := open(queue)
	if err != nil {
		return err
	}
	defer q.close()
	ready()
	buf := make([]byte, 1<<16)
	for {
		n, _, err := unix.Recvfrom(q.socket, buf, 0)
		switch {
		case errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.EINTR):
			continue // packets were lost, as on a full link
		case err != nil:
			return fmt.Errorf("read queue %d: %w", queue, err)
		}
		for _, id := range packets(buf[:n]) {
			hold := wait
			if jitter > 0 {
				hold += rand.N(jitter) //nolint:gosec // chance, not a secret
			}
			time.AfterFunc(hold, func() { q.accept(id) })
		}
	}
}

type queue struct {
	socket int
	number uint16
}

// open takes the queue over. What a packet holds is not needed, only its number.
func open(number uint16) (*queue, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("open netfilter: %w", err)
	}
	q := &queue{fd, number}
	err = unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 8<<20)
	}
	for _, c := range []struct {
		attr  uint16
		value []byte
	}{
		{configCommand, []byte{1, 0, 0, 0}},         // NFQNL_CFG_CMD_BIND
		{configCopy, []byte{0, 0, 0, 0, 1}},         // NFQNL_COPY_META
		{configMaxLength, []byte{0, 0, 0xff, 0xff}}, // packets in the queue
	} {
		if err == nil {
			err = q.configure(c.attr, c.value)
		}
	}
	if err != nil {
		q.close()
		return nil, fmt.Errorf("take queue %d: %w", number, err)
	}
	return q, nil
}

// close gives the queue back; the kernel lets go of it in any case.
func (q *queue) close() { _ = unix.Close(q.socket) }

// configure sends a request and reads the kernel's answer to it.
func (q *queue) configure(attr uint16, value []byte) error {
	if err := q.send(msgConfig, unix.NLM_F_REQUEST|unix.NLM_F_ACK, attr, value); err != nil {
		return err
	}
	var buf [512]byte
	n, _, err := unix.Recvfrom(q.socket, buf[:], 0)
	if err != nil {
		return err
	}
	if n < headers || binary.NativeEndian.Uint16(buf[4:]) != unix.NLMSG_ERROR {
		return errors.New("the kernel answers with something else")
	}
	if code := int32(binary.NativeEndian.Uint32(buf[16:])); code != 0 {
		return unix.Errno(-code)
	}
	return nil
}

// accept lets a packet go on. If that is refused the packet is gone, with its
// queue; there is nobody to tell.
func (q *queue) accept(id uint32) {
	value := binary.BigEndian.AppendUint32(nil, accept)
	_ = q.send(msgVerdict, unix.NLM_F_REQUEST, attrVerdict, binary.BigEndian.AppendUint32(value, id))
}

func (q *queue) send(kind, flags, attr uint16, value []byte) error {
	b := make([]byte, headers+4+align(len(value)))
	binary.NativeEndian.PutUint32(b[0:], uint32(len(b)))
	binary.NativeEndian.PutUint16(b[4:], kind)
	binary.NativeEndian.PutUint16(b[6:], flags)
	binary.BigEndian.PutUint16(b[18:], q.number) // nfgenmsg.res_id
	binary.NativeEndian.PutUint16(b[20:], uint16(4+len(value)))
	binary.NativeEndian.PutUint16(b[22:], attr)
	copy(b[24:], value)
	return unix.Sendto(q.socket, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
}

// packets returns the numbers of the packets that a read brought.
func packets(b []byte) []uint32 {
	var ids []uint32
	for len(b) >= headers {
		size := int(binary.NativeEndian.Uint32(b))
		if size < headers || size > len(b) {
			break
		}
		if binary.NativeEndian.Uint16(b[4:]) == msgPacket {
			if header := attribute(b[headers:size], attrPacketHeader); len(header) >= 4 {
				ids = append(ids, binary.BigEndian.Uint32(header))
			}
		}
		b = b[min(len(b), align(size)):]
	}
	return ids
}

// attribute finds one attribute's value.
func attribute(b []byte, want uint16) []byte {
	for len(b) >= 4 {
		size := int(binary.NativeEndian.Uint16(b))
		if size < 4 || size > len(b) {
			return nil
		}
		if binary.NativeEndian.Uint16(b[2:]) == want {
			return b[4:size]
		}
		b = b[min(len(b), align(size)):]
	}
	return nil
}

// align rounds up to netlink's four bytes.
func align(n int) int { return (n + 3) &^ 3 }
