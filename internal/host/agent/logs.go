package agent

import (
	"io"
	"net/http"

	"cke/internal/host"
)

// streamLogs answers with text for as long as there is some and the caller
// stays. Nothing is changed, so anybody's may be asked for.
func (a *Agent) streamLogs(w http.ResponseWriter, r *http.Request) {
	var req host.LogRequest
	err := decodeBody(http.MaxBytesReader(w, r.Body, maxBody), &req)
	if err == nil {
		err = checkLog(req)
	}
	var text io.ReadCloser
	if err == nil {
		text, err = a.runtime.logs(r.Context(), req.Cluster, req.Lines, req.Follow)
	}
	if err != nil {
		answerError(w, err)
		return
	}
	defer func() { _ = text.Close() }() // nothing was written
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(http.StatusOK)
	if err := copyAtOnce(w, text); err != nil && r.Context().Err() == nil {
		a.log.Warn("log breaks off", "cluster", req.Cluster, "error", err)
		panic(http.ErrAbortHandler) // nothing else tells that what was sent is not whole
	}
}

// copyAtOnce sends what it reads as soon as it has it.
func copyAtOnce(w http.ResponseWriter, r io.Reader) error {
	control := http.NewResponseController(w)
	if err := control.Flush(); err != nil {
		return err
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return err
			}
			if err := control.Flush(); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func checkLog(req host.LogRequest) error {
	if req.Lines < 0 || req.Lines > host.MaxLogLines {
		return invalid("%d lines are not between 0 and %d", req.Lines, host.MaxLogLines)
	}
	return checkCluster(req.Cluster)
}
