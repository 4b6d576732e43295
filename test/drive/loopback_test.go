package drive

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// TestWhatOneTestHasNoOtherIsGiven, before anybody listens there and until the test ends.
// A process that somebody else begins has it, too, until it is another program.
func TestWhatOneTestHasNoOtherIsGiven(t *testing.T) { //nolint:paralleltest // see above
	name := fmt.Sprintf("%s-%d", t.Name(), os.Getpid()) // another run of this test has its own
	t.Run("one", func(t *testing.T) {
		if !claim(t, name) {
			t.Fatal("what nobody has is not given")
		}
		if claim(t, name) {
			t.Error("it is given twice")
		}
	})
	if !claim(t, name) {
		t.Error("it is not given when the one before has ended")
	}
}

// TestGone: a process that runs or was stopped is there, one that has ended is not, whether
// or not anybody has asked how.
func TestGone(t *testing.T) {
	t.Parallel()
	if Gone(os.Getpid()) {
		t.Error("this process is gone")
	}
	cmd := exec.Command("/bin/sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	if Gone(pid) {
		t.Error("one that has just begun is gone")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for !Gone(pid) { // or the test hangs
	}
	_ = cmd.Wait() // it was killed
	if !Gone(pid) {
		t.Error("one that was waited for is there")
	}
}
