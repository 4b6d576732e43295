package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"cke/test/lab"
)

const (
	floorUnit = "etcd-floor.service"
	floorPKI  = "/etc/floor/pki"
	floorData = "/var/lib/floor/data"
	floorEtcd = "/opt/floor/etcd" // a binary that was copied by hand
)

// floorInLab makes one cluster by hand: one ssh per machine, all at once, each
// with everything ready for it in a tar on its standard input. A person who is
// that fast syncs nothing. Without etcd on the machines it is copied first.
func floorInLab(ctx context.Context, o options, l *lab.Lab, n int, how order, left presence) (p parts, flags []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if err := cleaned(ctx, l, left); err != nil {
		return p, nil, err
	}
	h := &byHand{machines: l.Machines(), etcd: etcdOn(), dir: filepath.Join(o.dir, fmt.Sprintf("floor-%d", n))}
	if left != all {
		h.etcd = floorEtcd
	}
	if err := h.prepare(ctx); err != nil {
		return p, nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(h.dir)) }()

	p.start()
	if left != all {
		if err := h.copyTo(ctx, filepath.Join(o.bin, "etcd"), floorEtcd, h.machines); err != nil {
			return p, nil, err
		}
		p.done("scp")
	}
	if err := h.start(ctx, how); err != nil {
		return p, nil, err
	}
	p.done("ssh")
	if err := finishByHand(ctx, h.endpoints(), h.root, &p); err != nil {
		return p, nil, err
	}
	flags, err = flagsIn(ctx, l.Machine(1))
	return p, flags, err
}

// byHand is three machines' members set up over ssh.
type byHand struct {
	machines []*lab.Machine
	spares   []*lab.Machine // have certificates, and no member to begin with
	etcd     string         // the binary on the machines
	dir      string
	root     *tls.Config
	tars     [][]byte // for each machine
}

func (h *byHand) endpoints() []string {
	var out []string
	for _, m := range h.machines {
		out = append(out, "https://"+m.Addr().String()+":2379")
	}
	return out
}

// prepare makes all that is ready beforehand.
func (h *byHand) prepare(ctx context.Context) (err error) {
	pki := map[string]net.IP{}
	for _, m := range slices.Concat(h.machines, h.spares) {
		pki[filepath.Join(h.dir, m.Name())] = m.Addr().AsSlice()
	}
	if h.root, err = writeFiles(pki); err != nil {
		return err
	}
	for _, m := range h.machines {
		files, err := h.files(ctx, m, "new", h.machines)
		if err != nil {
			return err
		}
		h.tars = append(h.tars, files)
	}
	if h.etcd == floorEtcd {
		for _, m := range h.machines {
			if _, err := m.Exec(ctx, "mkdir", "-p", filepath.Dir(floorEtcd)); err != nil {
				return err
			}
		}
	}
	return nil
}

// files are what a machine gets that founds or joins a cluster of these.
func (h *byHand) files(ctx context.Context, m *lab.Machine, state string, of []*lab.Machine) ([]byte, error) {
	most, err := maxFiles(ctx, m)
	if err != nil {
		return nil, err
	}
	var peers []string
	for _, p := range of {
		peers = append(peers, fmt.Sprintf("%s=https://%s:2380", p.Name(), p.Addr()))
	}
	return tarOf(filepath.Join(h.dir, m.Name()), unitByHand(h.etcd, floorMember{
		name: m.Name(), address: m.Addr().String(), local: "127.0.0.1", pki: floorPKI, data: floorData,
		log: []string{"--log-outputs=stderr"}, peers: peers, state: state,
	}.flags(), most))
}

// tarOf packs what one machine gets.
func tarOf(pki, unit string) ([]byte, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	put := func(name string, mode int64, owner string, data []byte) error {
		kind := byte(tar.TypeReg)
		if strings.HasSuffix(name, "/") {
			kind = tar.TypeDir
		}
		err := w.WriteHeader(&tar.Header{Typeflag: kind, Name: name, Mode: mode, Uname: owner, Gname: owner, Size: int64(len(data))})
		if err != nil {
			return err
		}
		_, err = w.Write(data)
		return err
	}
	errs := []error{
		put("etc/systemd/system/"+floorUnit, 0o644, "root", []byte(unit)),
		put("etc/floor/", 0o755, "root", nil), put("etc/floor/pki/", 0o700, "etcd", nil),
		put("var/lib/floor/", 0o755, "root", nil), put("var/lib/floor/data/", 0o700, "etcd", nil),
	}
	files, err := os.ReadDir(pki)
	errs = append(errs, err)
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(pki, f.Name()))
		errs = append(errs, err, put("etc/floor/pki/"+f.Name(), 0o600, "etcd", data))
	}
	errs = append(errs, w.Close())
	return b.Bytes(), errors.Join(errs...)
}

// start brings everything to the machines and has them started.
func (h *byHand) start(ctx context.Context, how order) error {
	begun := make(chan struct{}) // the first one has asked its peers
	g, ctx := errgroup.WithContext(ctx)
	for i, m := range h.machines {
		g.Go(func() error {
			before, after := "", ""
			wait := make(chan struct{})
			close(wait)
			if how == oneFirst && i == 0 {
				after = "until [ -e " + floorData + "/member/wal ]; do sleep 0.005; done\n"
			} else if how == oneFirst {
				before, wait = "read go\n", begun
			}
			script := fmt.Sprintf(`set -e
systemd-sysusers --inline 'g etcd -' 'u etcd - "" /nonexistent /usr/sbin/nologin'
head -c %d | tar -xpf - -C /
mkdir -p /etc/systemd/system/multi-user.target.wants
ln -sf /etc/systemd/system/%s /etc/systemd/system/multi-user.target.wants/
systemctl daemon-reload
%ssystemctl start --no-block %s
%secho begun`, len(h.tars[i]), floorUnit, before, floorUnit, after)
			if err := session(ctx, m, script, h.tars[i], wait); err != nil {
				return err
			}
			if i == 0 {
				close(begun)
			}
			return nil
		})
	}
	return g.Wait()
}

// session runs a script with these files, and then a line, on its standard
// input; it returns when the script says that it has begun.
func session(ctx context.Context, m *lab.Machine, script string, files []byte, wait <-chan struct{}) error {
	cmd := exec.CommandContext(ctx, "ssh", append(m.SSHArgs(lab.Root), script)...)
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() {
		defer in.Close()
		if _, err := in.Write(files); err != nil {
			return // ssh says why it ended
		}
		select {
		case <-wait:
			_, _ = io.WriteString(in, "go\n") // as above
		case <-ctx.Done():
		}
	}()
	line, _ := bufio.NewReader(out).ReadString('\n') // what else there is, the end of ssh says
	if err := cmd.Wait(); err != nil || line != "begun\n" {
		return fmt.Errorf("set up %s: %w: %s", m.Name(), errors.Join(err, ctx.Err()), &said)
	}
	return nil
}

// copyTo copies a program to these machines at once.
func (h *byHand) copyTo(ctx context.Context, program, to string, machines []*lab.Machine) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, m := range machines {
		g.Go(func() error {
			args := append(m.SSHOptions(), "-q", "-p", program, lab.Root+"@"+m.Addr().String()+":"+to)
			if out, err := exec.CommandContext(ctx, "scp", args...).CombinedOutput(); err != nil {
				return fmt.Errorf("copy %s to %s: %w: %s", filepath.Base(program), m.Name(), err, out)
			}
			return nil
		})
	}
	return g.Wait()
}
