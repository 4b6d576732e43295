// Command cke-host is CKE's helper on a managed machine. `cke-host serve`
// answers on its standard input and output and ends with them; `cke-host
// gateway` leads the machine's programs to the members and runs until it is
// stopped.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"

	"cke/internal/version"
)

const usage = `usage: cke-host serve [--root DIR] [--releases DIR]   answer on stdin and stdout
       cke-host gateway --list FILE --state SOCKET [--listen ADDRESS]
       cke-host version
`

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "cke-host:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 0 {
		return fmt.Errorf("no command is given\n%s", usage)
	}
	flags := flag.NewFlagSet("cke-host "+args[0], flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	command, ok := map[string]func(*flag.FlagSet) func() error{"serve": serve, "gateway": lead, "version": printVersion}[args[0]]
	if !ok {
		return fmt.Errorf("unknown command %q\n%s", args[0], usage)
	}
	do := command(flags)
	if err := flags.Parse(args[1:]); err != nil {
		return fmt.Errorf("%w\n%s", err, usage)
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q\n%s", flags.Arg(0), usage)
	}
	return do()
}

func printVersion(*flag.FlagSet) func() error {
	return func() error {
		fmt.Println(version.String())
		return nil
	}
}
