package drive

import (
	"os"
	"os/exec"
	"testing"
)

// TestWhatOneTestHasNoOtherIsGiven, before anybody listens there and until the test ends.
func TestWhatOneTestHasNoOtherIsGiven(t *testing.T) {
	t.Parallel()
	t.Run("one", func(t *testing.T) {
		if !claim(t, "a port of this test's") {
			t.Fatal("what nobody has is not given")
		}
		if claim(t, "a port of this test's") {
			t.Error("it is given twice")
		}
	})
	if !claim(t, "a port of this test's") {
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
