package cli

import (
	"strings"
	"testing"
)

func TestSingleDashes(t *testing.T) {
	for _, c := range [][2]string{
		{"etcd issue -ttl=24h -output=json app", "etcd issue --ttl=24h --output=json app"},
		{"etcd issue -ttl 24h app", "etcd issue --ttl 24h app"},
		{"etcd issue app --ttl 24h", "etcd issue app --ttl 24h"},
		{"etcd local-backup -max-backups 3 -dir ./b", "etcd local-backup --max-backups 3 --dir ./b"},
		{"etcd local-backup -max-backups -3", "etcd local-backup --max-backups -3"},
		{"etcd local-backup --max-backups -3", "etcd local-backup --max-backups -3"},
		{"-cluster main status -watch", "--cluster main status --watch"},
		{"-output=json status", "--output=json status"},
		{"status -watch -output json", "status --watch --output json"},
		{"history -n 5 -f", "history -n 5 -f"},
		{"history -n5f", "history -n5f"},
		{"history -fn 5 -output json", "history -fn 5 --output json"},
		{"history -n -output", "history -n -output"}, // the value of -n
		{"history -fn -output", "history -fn -output"},
		{"history -f -output json", "history -f --output json"},
		{"history -follow -lines 3", "history --follow --lines 3"},
		{"pause -why -watch", "pause --why -watch"}, // the value of --why
		{"pause --why -output", "pause --why -output"},
		{"pause -why=-output -output=json", "pause --why=-output --output=json"},
		{"node claim -- -output=json", "node claim -- -output=json"},
		{"node claim -cluster main -- -cluster", "node claim --cluster main -- -cluster"},
		{"cluster set - -wait", "cluster set - --wait"},
		{"status -h", "status -h"},
		{"status -help", "status --help"},
		{"status -nonsense -watch", "status -nonsense --watch"},
		{"__complete etcd issue -tt", "__complete etcd issue -tt"},
		{"status -cluster", "status --cluster"},
	} {
		got := strings.Join(singleDashes(New(Env{}), strings.Fields(c[0])), " ")
		if got != c[1] {
			t.Errorf("%s\n got %s\nwant %s", c[0], got, c[1])
		}
	}
}

// Every long flag there is, so that one that is added later works as well.
func TestEveryLongFlagTakesOneDash(t *testing.T) {
	flags := 0
	everyCommand(New(Env{}), func(path []string, long []string) {
		for _, name := range long {
			flags++
			got := singleDashes(New(Env{}), append(path, "-"+name+"=x"))
			if last := got[len(got)-1]; last != "--"+name+"=x" {
				t.Errorf("%v -%s: got %s", path, name, last)
			}
		}
	})
	if flags < 30 {
		t.Errorf("only %d flags were tried", flags)
	}
}
