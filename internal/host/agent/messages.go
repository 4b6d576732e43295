package agent

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
)

// summaryBytes bounds what is told of a process's last messages.
const summaryBytes = 500

// What varies in etcd's messages while the failure is the same: the local end
// of a connection, and the time a certificate was looked at.
var (
	localEnd    = regexp.MustCompile(`\S+->`)
	currentTime = regexp.MustCompile(`current time \S+ `)
)

// weight is how much a message says about a process's end.
type weight int

const (
	chatter weight = iota
	warning        // with an error in it: so etcd tells of flags it does not like
	failure
	fatal
)

// message is one line of a log without its time and place.
type message struct {
	weight weight
	text   string
}

type messages []message

// distil reads etcd's log, as JSON or in columns, and what the Go runtime and
// the flag parser write to stderr: of a panic its first line, of a refused flag
// the line before the usage.
func distil(log string) messages {
	var out messages
	skip := false // the rest of a stack trace or of the usage
	for line := range strings.Lines(log) {
		line = strings.TrimRight(line, "\r\n")
		m, ok := parseEntry(line)
		if !ok {
			died := strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ")
			skip = !died && (skip || line == "Usage:" || strings.HasPrefix(line, "goroutine "))
			if skip || strings.TrimSpace(line) == "" || strings.HasPrefix(line, "[signal ") {
				continue
			}
			m = message{failure, strings.TrimSpace(line)}
			if died {
				m.weight = fatal
			}
		}
		m.text = currentTime.ReplaceAllString(localEnd.ReplaceAllString(m.text, ""), "current time ")
		out = append(out, m)
	}
	return out
}

// parseEntry reads one line of zap's: JSON, or columns divided by tabs (time,
// level, caller, message, fields as JSON).
func parseEntry(line string) (message, bool) {
	var e struct{ Level, Msg, Error string }
	if strings.HasPrefix(line, "{") {
		if json.Unmarshal([]byte(line), &e) != nil || e.Level == "" {
			return message{}, false
		}
	} else {
		col := strings.Split(line, "\t")
		if len(col) < 4 {
			return message{}, false
		}
		if len(col) > 4 && json.Unmarshal([]byte(col[4]), &e) != nil {
			e.Error = "" // fields that cannot be read say nothing
		}
		e.Level, e.Msg = col[1], col[3]
	}
	w, ok := map[string]weight{
		"debug": chatter, "info": chatter, "warn": chatter,
		"error": failure, "dpanic": fatal, "panic": fatal, "fatal": fatal,
	}[strings.ToLower(e.Level)]
	if e.Error == "" {
		return message{w, e.Msg}, ok
	}
	return message{max(w, warning), e.Msg + ": " + e.Error}, ok
}

// cause is the last of the weightiest messages, on one line.
func (ms messages) cause() string {
	best := ms.weightiest(fatal)
	if len(best) == 0 {
		return ""
	}
	return cut(strings.Join(strings.Fields(best[len(best)-1]), " "))
}

// summary is the last few failures, each once, oldest first; without any, the
// last of what else was said.
func (ms messages) summary() string {
	var lines []string
	room := summaryBytes
	for _, text := range slices.Backward(ms.weightiest(failure)) {
		text = cut(text)
		if slices.Contains(lines, text) {
			continue
		}
		if room -= len(text) + 1; room < 0 && len(lines) > 0 {
			break
		}
		lines = append(lines, text)
	}
	slices.Reverse(lines)
	return strings.Join(lines, "\n")
}

// weightiest are the messages of at least the given weight, or else of the most
// weight there is; of chatter only the last.
func (ms messages) weightiest(enough weight) []string {
	top := chatter
	for _, m := range ms {
		top = max(top, m.weight)
	}
	var out []string
	for _, m := range ms {
		if m.weight >= min(enough, top) {
			out = append(out, m.text)
		}
	}
	if top == chatter {
		out = out[max(0, len(out)-1):]
	}
	return out
}

func cut(s string) string {
	const more = "…"
	if len(s) <= summaryBytes {
		return s
	}
	return strings.ToValidUTF8(s[:summaryBytes-len(more)], "") + more
}
