package lab

import (
	"bufio"
	"context"
	"crypto/sha256"
	_ "embed" // the recipe of the image
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

//go:embed image.sh
var imageRecipe string

// imageLimit is for a slow mirror; it takes half a minute otherwise.
const imageLimit = 10 * time.Minute

// ensureImage returns the directory of the root file system, made if there is
// none of this recipe yet. The caller holds the lab's lock.
func ensureImage(h home) (string, error) {
	if err := ensureKey(h); err != nil {
		return "", err
	}
	public, err := os.ReadFile(h.key() + ".pub")
	if err != nil {
		return "", fmt.Errorf("read the lab's key: %w", err)
	}
	sum := sha256.Sum256(append([]byte(imageRecipe), public...))
	image := filepath.Join(string(h), "image-"+hex.EncodeToString(sum[:6]))
	if _, err := os.Stat(image); err == nil {
		return image, nil
	}
	mirror, err := debianMirror("/etc/apt")
	if err != nil {
		return "", err
	}
	var errs []error
	for range imageTries { // a mirror may not answer for a moment
		err := makeImage(h, image, mirror)
		if err == nil {
			return image, nil
		}
		errs = append(errs, err)
	}
	return "", errors.Join(errs...)
}

// imageTries is how often an image is tried to be made.
const imageTries = 3

func makeImage(h home, image, mirror string) error {
	if err := removeImages(h); err != nil {
		return err
	}
	// A half-made image never has the name of a whole one.
	part := image + ".part"
	ctx, cancel := context.WithTimeout(context.Background(), imageLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-s", part, mirror, h.key()+".pub")
	cmd.Stdin = strings.NewReader(imageRecipe)
	if _, err := output(cmd); err != nil {
		return fmt.Errorf("make the machines' image: %w", err)
	}
	return os.Rename(part, image)
}

// removeImages forgets those of older recipes, and what a killed run began.
func removeImages(h home) error {
	old, err := filepath.Glob(filepath.Join(string(h), "image-*"))
	if err != nil {
		return err
	}
	for _, dir := range old {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("remove the old image: %w", err)
		}
	}
	return nil
}

// ensureKey makes the one key pair that all machines of all labs accept.
func ensureKey(h home) error {
	if _, err := os.Stat(h.key()); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(h.key()), 0o700); err != nil {
		return fmt.Errorf("make the lab's key: %w", err)
	}
	_, err := command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "cke-lab", "-f", h.key())
	return err
}

// debianMirror is the first one that apt on this box uses: the machines come
// from where the box itself came from. Both of apt's formats are understood.
func debianMirror(etc string) (string, error) {
	files := []string{"sources.list.d/debian.sources", "sources.list"}
	for _, pattern := range []string{"sources.list.d/*.sources", "sources.list.d/*.list"} {
		more, err := filepath.Glob(filepath.Join(etc, pattern))
		if err != nil {
			return "", err
		}
		for _, path := range more {
			files = append(files, strings.TrimPrefix(path, etc+"/"))
		}
	}
	for _, name := range files {
		text, err := os.ReadFile(filepath.Join(etc, name))
		if err != nil {
			continue // apt has the one or the other
		}
		if mirror := mirrorIn(string(text)); mirror != "" {
			return mirror, nil
		}
	}
	return "", fmt.Errorf("find a Debian mirror: %s names none", etc)
}

// mirrorIn returns the first archive in a file of apt's that has the suite the
// machines are made of.
func mirrorIn(text string) string {
	uri := "" // of the paragraph, in the format with paragraphs
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		f := strings.Fields(lines.Text())
		switch {
		case len(f) == 0:
			uri = ""
		case f[0] == "URIs:" && len(f) > 1:
			uri = f[1]
		case f[0] == "Suites:" && uri != "" && len(f) > 1 && f[1] == "bookworm":
			return uri
		case f[0] == "deb":
			if at := withoutOptions(f[1:]); len(at) > 1 && at[1] == "bookworm" {
				return at[0]
			}
		}
	}
	return ""
}

// withoutOptions drops the [key=value …] of a line of sources.list.
func withoutOptions(f []string) []string {
	if len(f) == 0 || !strings.HasPrefix(f[0], "[") {
		return f
	}
	for i, word := range f {
		if strings.HasSuffix(word, "]") {
			return f[i+1:]
		}
	}
	return nil
}
