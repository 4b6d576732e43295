package agent

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"

	"cke/internal/host"
)

// The largest bodies. Certificates are a few kilobytes; a revocation list may grow.
const (
	maxFilesBody = 8 << 20
	maxBody      = 256 << 10
)

func (a *Agent) routes() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("POST /v1/"+host.VerbFacts, a.verb(maxBody, a.heeding(question(a.facts))))
	mux.Handle("POST /v1/"+host.VerbWaitUnit, a.verb(maxBody, func(ctx context.Context, _ host.Identity, body decode) (any, error) {
		var req host.WaitRequest
		if err := body(&req); err != nil {
			return nil, err
		}
		return done{}, a.waitUnit(ctx, req)
	}))
	mux.Handle("POST /v1/"+host.VerbProgress, a.verb(maxBody, question(a.progress)))
	mux.Handle("POST /v1/"+host.VerbSends, a.verb(maxBody, question(a.sends)))
	mux.Handle("POST /v1/"+host.VerbPreflight, a.verb(maxBody, question(a.preflight)))
	mux.Handle("POST /v1/"+host.VerbReachPeers, a.verb(maxBody, question(a.reachPeers)))
	mux.HandleFunc("POST /v1/"+host.VerbAnswerPeers, a.serveAnswerPeers)
	mux.Handle("POST /v1/"+host.VerbPutFiles, a.verb(maxFilesBody, mutation(a.putFiles)))
	mux.Handle("POST /v1/"+host.VerbInstallUnit, a.verb(maxBody, mutation(a.installUnit)))
	mux.Handle("POST /v1/"+host.VerbStartUnit, a.verb(maxBody, mutation(a.startUnit)))
	mux.Handle("POST /v1/"+host.VerbStopUnit, a.verb(maxBody, mutation(a.stopUnit)))
	mux.Handle("POST /v1/"+host.VerbRetireUnit, a.verb(maxBody, mutation(a.retireUnit)))
	mux.Handle("POST /v1/"+host.VerbClean, a.verb(maxBody, mutation(a.clean)))
	mux.Handle("POST /v1/"+host.VerbClaim, a.verb(maxBody, mutation(
		func(ctx context.Context, id host.Identity, _ host.ClaimRequest) error { return a.claim(ctx, id) })))
	mux.Handle("POST /v1/"+host.VerbReleaseOffset, a.verb(maxBody, func(ctx context.Context, _ host.Identity, body decode) (any, error) {
		var req host.ReleaseRequest
		if err := body(&req); err != nil {
			return nil, err
		}
		return a.releaseOffset(ctx, req)
	}))
	mux.Handle("POST /v1/"+host.VerbPutRelease, a.putReleaseVerb())
	mux.Handle("POST /v1/"+host.VerbPurge, a.verb(maxBody, mutation(
		func(ctx context.Context, id host.Identity, _ host.PurgeRequest) error { return a.purge(ctx, id) })))
	mux.Handle("POST /v1/"+host.VerbReboot, a.verb(maxBody, mutation(a.reboot)))
	mux.Handle("POST /v1/"+host.VerbPutGateway, a.verb(maxBody, mutation(a.putGateway)))
	mux.Handle("POST /v1/"+host.VerbRemoveGateway, a.verb(maxBody, mutation(a.removeGateway)))
	mux.Handle("POST /v1/"+host.VerbPutClientFiles, a.verb(maxBody, mutation(a.putClientFiles)))
	mux.HandleFunc("POST /v1/"+host.VerbLog, a.streamLogs)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		answerError(w, invalid("%.20q %.80q is no verb", r.Method, r.URL.Path))
	})
	return mux
}

// done is the answer of a verb that has nothing to say.
type done struct{}

// decode reads the request's body.
type decode func(v any) error

type verb func(ctx context.Context, id host.Identity, body decode) (any, error)

// question is a verb that changes nothing.
func question[T, R any](ask func(context.Context, T) (R, error)) verb {
	return func(ctx context.Context, _ host.Identity, body decode) (any, error) {
		var req T
		if err := body(&req); err != nil {
			return nil, err
		}
		return ask(ctx, req)
	}
}

// mutation is a verb that changes something and answers nothing.
func mutation[T any](do func(context.Context, host.Identity, T) error) verb {
	return func(ctx context.Context, id host.Identity, body decode) (any, error) {
		var req T
		if err := body(&req); err != nil {
			return nil, err
		}
		return done{}, storageError(do(ctx, id, req))
	}
}

func (a *Agent) verb(limit int64, do verb) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := func(v any) error { return decodeBody(http.MaxBytesReader(w, r.Body, limit), v) }
		id, err := identity(r)
		var out any
		if err == nil {
			out, err = do(r.Context(), id, body)
		}
		if err != nil {
			answerError(w, err)
			return
		}
		a.answer(w, out)
	})
}

func (a *Agent) answer(w http.ResponseWriter, out any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(out); err != nil {
		a.log.Debug("write answer", "error", err) // the caller is gone
	}
}

func identity(r *http.Request) (host.Identity, error) {
	epoch, err := strconv.ParseInt(r.Header.Get(host.HeaderEpoch), 10, 64)
	if err != nil {
		return host.Identity{}, invalid("header %s: %.80q is not a number", host.HeaderEpoch, r.Header.Get(host.HeaderEpoch))
	}
	return host.Identity{
		StoreID: r.Header.Get(host.HeaderStore), Epoch: epoch, Elected: r.Header.Get(host.HeaderElected) == "true",
		Proof: r.Header.Get(host.HeaderProof),
	}, nil
}

// decodeBody wants exactly one JSON value of known fields.
func decodeBody(r io.Reader, v any) error {
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return invalid("the request is larger than %d bytes", tooLarge.Limit)
		}
		return invalid("read the request: %.200s", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return invalid("the request has more than one value")
	}
	return nil
}

func answerError(w http.ResponseWriter, err error) {
	f := host.NewFailure(err)
	code := http.StatusInternalServerError
	switch {
	case f.Fenced != nil:
		code = http.StatusConflict
	case f.Guard != nil:
		code = http.StatusPreconditionFailed
	case f.Invalid != nil:
		code = http.StatusBadRequest
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(f) // fails only when the caller is gone
}
