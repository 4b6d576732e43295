package api

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os/user"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/sys/unix"
)

type peerKey struct{}

// withPeer notes the user at the other end of a unix socket, as the kernel
// knows it (SO_PEERCRED in unix(7)). It runs in the accept loop, so names are
// looked up later.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	uc, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := uc.SyscallConn()
	if err != nil {
		return ctx
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil || credErr != nil {
		return ctx
	}
	return context.WithValue(ctx, peerKey{}, cred.Uid)
}

// identified names the caller of each request: the socket's peer as
// "uid 1000 (alice)", or the common name of a verified client certificate.
func identified(machine string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := "unknown"
		if uid, ok := r.Context().Value(peerKey{}).(uint32); ok {
			who = callerOn(uidName(uid), machine)
		}
		if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
			leaf := r.TLS.VerifiedChains[0][0]
			if who = printable(leaf.Subject.CommonName); who == "" {
				who = "certificate " + leaf.SerialNumber.Text(16)
			}
		}
		next.ServeHTTP(w, r.WithContext(WithCaller(r.Context(), who)))
	})
}

func uidName(uid uint32) string {
	who := fmt.Sprintf("uid %d", uid)
	if u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10)); err == nil {
		who += " (" + u.Username + ")"
	}
	return who
}

// printable keeps a certificate's name from writing lines of its own into the history.
func printable(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}
