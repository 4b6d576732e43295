package backup

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"testing"
)

// The test binary starts itself for what a process can only suffer once.
const (
	childVar    = "CKE_TEST_BACKUP_CHILD" // hang:BYTES or limit:BYTES
	childDir    = "CKE_TEST_BACKUP_DIR"
	childSource = "CKE_TEST_BACKUP_SOURCE"
)

func TestMain(m *testing.M) {
	if task := os.Getenv(childVar); task != "" {
		if err := child(task, os.Getenv(childDir), os.Getenv(childSource)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child backs a snapshot up: with "hang" it says so on stdout after so many
// bytes and waits for its death, with "limit" no file may grow larger.
func child(task, dir, source string) error {
	kind, number, _ := bytes.Cut([]byte(task), []byte(":"))
	n, err := strconv.ParseInt(string(number), 10, 64)
	if err != nil {
		return err
	}
	f, err := os.Open(source)
	if err != nil {
		return err
	}
	r := io.Reader(f)
	switch string(kind) {
	case "hang":
		r = io.MultiReader(io.LimitReader(f, n), hang{})
	case "limit":
		signal.Ignore(syscall.SIGXFSZ)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: uint64(n), Max: uint64(n)}); err != nil {
			return err
		}
	}
	_, err = WriteLocal(context.Background(), LocalOptions{Dir: dir, MaxBackups: 1}, r, nil)
	return err
}

type hang struct{}

func (hang) Read([]byte) (int, error) {
	fmt.Println("hanging")
	select {}
}

func childCommand(t *testing.T, task, dir, source string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVar+"="+task, childDir+"="+dir, childSource+"="+source)
	return cmd
}
