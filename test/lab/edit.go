package lab

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// EditDataDisk has edit change the files of the data disk of a machine that is off,
// as a failing disk would. They are below root while it runs.
func (m *Machine) EditDataDisk(edit func(root string) error) error {
	return m.changeDataDisk(func() error {
		if err := errors.Join(m.data.mounted(edit), freeLoops(m.dir)); err != nil {
			return fmt.Errorf("edit the data disk of %s: %w", m.name, err)
		}
		return nil
	})
}

// mountScript mounts a disk where only it sees it, for boot.sh's reasons, and
// unmounts it when its input ends.
const mountScript = `mkdir -p "$2"; mount -o loop "$1" "$2"; echo ready; read -r end || true; umount "$2"`

// mounted mounts the disk of a machine that is off while use runs.
func (d *disk) mounted(use func(root string) error) (err error) {
	at := filepath.Join(d.dir, "edit")
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-ec", mountScript, "mount", d.image(), at)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("mount %s: %w", d.image(), err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return fmt.Errorf("mount %s: %w", d.image(), err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("mount %s: %w", d.image(), err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err == nil && line == "ready\n" {
		err = use(filepath.Join("/proc", strconv.Itoa(cmd.Process.Pid), "root", at))
	}
	err = errors.Join(err, in.Close())
	if ended := cmd.Wait(); ended != nil {
		err = errors.Join(err, commandError(cmd, ended, stderr.String()))
	}
	return errors.Join(err, os.RemoveAll(at))
}
