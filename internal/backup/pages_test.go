package backup

import (
	"bytes"
	"crypto/sha256"
	"os"
	"path/filepath"
	"testing"

	"pgregory.net/rapid"
)

// Whatever a bad disk made of the pages, the checks answer and do not panic.
func rottenPages(t *testing.T, data []byte) {
	body := data[:len(data)-sha256.Size]
	if err := checkPages(body); err != nil {
		t.Fatalf("a sound database: %v", err)
	}
	path := filepath.Join(t.TempDir(), "rotten")
	const page = 4096
	rapid.Check(t, func(t *rapid.T) {
		b := bytes.Clone(body)
		for range rapid.IntRange(1, 4).Draw(t, "changes") {
			at := rapid.IntRange(0, len(b)/page-1).Draw(t, "page") * page
			switch rapid.SampledFrom([]string{"head", "byte", "lost", "copied"}).Draw(t, "change") {
			case "head":
				b[at+rapid.IntRange(0, 127).Draw(t, "offset")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
			case "byte":
				b[at+rapid.IntRange(0, page-1).Draw(t, "offset")] = rapid.Byte().Draw(t, "value")
			case "lost":
				clear(b[at : at+page])
			case "copied":
				from := rapid.IntRange(0, len(b)/page-1).Draw(t, "from") * page
				copy(b[at:at+page], body[from:from+page])
			}
		}
		if checkPages(b) != nil {
			return
		}
		if err := os.WriteFile(path, withSum(b), 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if res, err := inspect(f, int64(len(b)+sha256.Size)); err == nil && res.Keys > 40 {
			t.Fatalf("accepted with %+v", res)
		}
	})
}
