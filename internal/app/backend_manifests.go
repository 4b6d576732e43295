package app

import (
	"context"
	"errors"

	"cke/internal/api"
)

func (b backend) Manifests(context.Context, string, api.Subject) ([]byte, error) {
	return nil, errors.New("print manifests: this build cannot")
}
