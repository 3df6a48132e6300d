package finetune

import (
	"context"
	"math/rand/v2"
	"time"
)

// backoff is the waits between attempts: exponential, spread by up to a quarter either way, so that clients that lost one server
// do not return together.
type backoff struct{ initial, maximum, next time.Duration }

func newBackoff(initial, maximum time.Duration) *backoff {
	return &backoff{initial: initial, maximum: maximum, next: initial}
}

// pause is the wait before the next attempt; at least `asked`, which is what the server wants.
func (b *backoff) pause(asked *time.Duration) time.Duration {
	own := time.Duration(float64(b.next) * (0.75 + rand.Float64()/2))
	b.next = min(b.maximum, 2*b.next)
	if asked == nil {
		return own
	}
	return max(own, time.Duration(float64(*asked)*(1+rand.Float64()/4)))
}

func (b *backoff) reset() { b.next = b.initial }

// sleep returns early, with the context's error, when the context ends.
func sleep(ctx context.Context, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
