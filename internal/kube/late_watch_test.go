package kube

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestALateAnswerHoldsNothingUp: an API server whose etcd has no leader may lose a list,
// and open no watch before all of its own cache is read again. What is wanted is
// brought there as soon as anybody answers.
func TestALateAnswerHoldsNothingUp(t *testing.T) {
	t.Parallel()
	brought := make(chan struct{}, 100)
	good := falseServer(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // it was sent twice, and the other was answered
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(strings.Replace(string(body), `"metadata":{`, `"metadata":{"resourceVersion":"2",`, 1)))
		if strings.Contains(r.URL.Path, "/endpointslices/") {
			brought <- struct{}{}
		}
	})
	var lists atomic.Int64
	answer := good.Config.Handler
	good.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case !strings.Contains(r.URL.Path, "/endpointslices"):
		case r.URL.Query().Get("watch") != "", r.Method == http.MethodGet && lists.Add(1) <= 2:
			<-r.Context().Done()
			return
		}
		answer.ServeHTTP(w, r)
	})
	runs(t, kubeconfigFor(t, good))
	select {
	case <-brought:
	case <-time.After(time.Minute):
		t.Fatal("the slice is not brought there")
	}
}
