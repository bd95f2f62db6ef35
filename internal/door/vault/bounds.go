package vault

import (
	"context"

	"github.com/strongroom/strongroom/internal/api"
)

// MaxValues is the most values that a body of JSON may have.
const MaxValues = api.MaxValues

// Bounds lower what a request's body may be; zero leaves MaxBody and MaxValues.
type Bounds struct {
	Body   int64 // bytes
	Values int   // values of JSON, names not counted
}

type boundsKey struct{}

// Within is a context in which requests have lower bounds, such as those of the
// listener that they came by.
func Within(ctx context.Context, b Bounds) context.Context {
	return context.WithValue(ctx, boundsKey{}, b)
}

// boundsOf are a request's bounds.
func boundsOf(ctx context.Context) Bounds {
	b, ok := ctx.Value(boundsKey{}).(Bounds)
	if !ok || b.Body == 0 {
		b.Body = MaxBody
	}
	if b.Values == 0 {
		b.Values = MaxValues
	}
	return b
}
