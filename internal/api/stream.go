package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

const (
	ndjsonType = "application/x-ndjson"
	octetType  = "application/octet-stream"
	textType   = "text/plain; charset=utf-8"
	// estimateHeader tells about how many bytes a stream will have.
	estimateHeader = "X-Cke-Estimated-Bytes"
	// writeTimeout bounds how long one write may hang on a client that does not read.
	writeTimeout = time.Minute
)

// follow registers an operation that answers with a line of JSON per value for
// as long as the client stays. It never ends well unless the backend says so.
func follow[I, T any](s *server, op huma.Operation, do func(context.Context, *I, func(T) error) error) {
	schema := s.api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[T](), true, "")
	op.Responses["200"] = &huma.Response{
		Description: "One JSON value per line, each sent at once.",
		Content:     map[string]*huma.MediaType{ndjsonType: {Schema: schema}},
	}
	stream(s, op, func(ctx context.Context, in *I, w *streamWriter) error {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		stop := context.AfterFunc(drain(ctx), func() { cancel(errDraining) })
		defer stop()
		w.contentType = ndjsonType
		return do(ctx, in, func(v T) error {
			line, err := json.Marshal(v)
			if err != nil {
				return err
			}
			if _, err := w.Write(append(line, '\n')); err != nil {
				return err
			}
			return w.flush()
		})
	})
}

// octetWriter is the body of an octet stream; estimate counts before the first write.
type octetWriter struct {
	*streamWriter
	estimate int64
}

func (w *octetWriter) Write(p []byte) (int, error) {
	if !w.begun && w.estimate > 0 {
		w.w.Header().Set(estimateHeader, strconv.FormatInt(w.estimate, 10))
	}
	return w.streamWriter.Write(p)
}

// octets registers an operation that answers with bytes.
func octets[I any](s *server, op huma.Operation, do func(context.Context, *I, *octetWriter) error) {
	op.Responses["200"] = &huma.Response{
		Description: "The bytes.",
		Headers: map[string]*huma.Param{estimateHeader: {
			Description: "About how many bytes will follow.", Schema: &huma.Schema{Type: huma.TypeInteger},
		}},
		Content: map[string]*huma.MediaType{octetType: {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}},
	}
	stream(s, op, func(ctx context.Context, in *I, w *streamWriter) error {
		w.contentType = octetType
		return do(ctx, in, &octetWriter{streamWriter: w})
	})
}

// lines registers an operation that answers with text, each piece of it as soon
// as it is there.
func lines[I any](s *server, op huma.Operation, open func(context.Context, *I) (io.ReadCloser, error)) {
	op.Responses["200"] = &huma.Response{
		Description: "The lines.",
		Content:     map[string]*huma.MediaType{textType: {Schema: &huma.Schema{Type: huma.TypeString}}},
	}
	stream(s, op, func(ctx context.Context, in *I, w *streamWriter) error {
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		stop := context.AfterFunc(drain(ctx), func() { cancel(errDraining) })
		defer stop()
		text, err := open(ctx, in)
		if err != nil {
			return err
		}
		w.contentType = textType
		// Following may begin with nothing: the client is told that it has begun.
		w.begin()
		if err = w.flush(); err == nil {
			_, err = io.Copy(flushed{w}, text)
		}
		if cerr := text.Close(); err == nil {
			err = cerr
		}
		return err
	})
}

// flushed sends what is written at once.
type flushed struct{ *streamWriter }

func (w flushed) Write(p []byte) (int, error) {
	n, err := w.streamWriter.Write(p)
	if err != nil {
		return n, err
	}
	return n, w.flush()
}

// stream runs do after the input was checked. An error before the first byte
// is an ordinary Problem; one after it breaks the connection, because nothing
// else tells a client that what it has is not whole.
func stream[I any](s *server, op huma.Operation, do func(context.Context, *I, *streamWriter) error) {
	huma.Register(s.api, op, func(_ context.Context, in *I) (*huma.StreamResponse, error) {
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			_, raw := humago.Unwrap(hc)
			ctx := hc.Context() // the gate's, which is not the request's own
			w := &streamWriter{w: raw, control: http.NewResponseController(raw)}
			err := do(ctx, in, w)
			if err != nil && w.begun {
				level := slog.LevelWarn
				if ctx.Err() != nil {
					level = slog.LevelDebug // the client has left, as one who watches does
				}
				s.options.Log.Log(ctx, level, "stream breaks off", "operation", op.OperationID, "error", err)
				panic(http.ErrAbortHandler)
			}
			if err != nil {
				writeProblem(raw, problemOf(unread(ctx, err)))
				return
			}
			w.begin()
			w.end()
		}}, nil
	})
}

// streamWriter sends its header with the first byte, not before.
type streamWriter struct {
	w           http.ResponseWriter
	control     *http.ResponseController
	contentType string
	begun       bool
}

func (w *streamWriter) begin() {
	if w.begun {
		return
	}
	w.begun = true
	w.w.Header().Set("Content-Type", w.contentType)
	w.w.Header().Set("Cache-Control", "no-store")
	w.w.WriteHeader(http.StatusOK)
}

func (w *streamWriter) Write(p []byte) (int, error) {
	w.begin()
	if err := w.setDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, err
	}
	return w.w.Write(p)
}

// flush sends what was written and takes the deadline back: a stream that has
// nothing to say for a while is no client that does not read (HTTP/2 ends a
// stream at its deadline, whether or not anything is being written).
func (w *streamWriter) flush() error {
	if err := w.control.Flush(); err != nil {
		return err
	}
	return w.setDeadline(time.Time{})
}

// end takes the deadline back, for the next request on this connection.
func (w *streamWriter) end() {
	// If this fails, so does the connection.
	_ = w.setDeadline(time.Time{})
}

func (w *streamWriter) setDeadline(t time.Time) error {
	if err := w.control.SetWriteDeadline(t); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}
