package finetune

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	pb "github.com/segmind/finetune-gateway/client/go/finetunev1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
)

// A stream on which nothing came for that long is opened anew. The gateway sends a heartbeat every 15 s.
const silence = 45 * time.Second

// WatchOptions choose what a watch tells. Names: only these jobs; Where: only jobs for which it is true, and Left when one stops being so.
type WatchOptions struct {
	Names []string
	Where func(*pb.FineTune) bool
}

// Watch is a local watcher. One goroutine at a time may ask it for events; any may close it.
type Watch struct {
	shared *sharedWatch
	sub    *subscriber
	once   sync.Once
	closed chan struct{}
}

// Watch tells of jobs for ever: first all that there are, then Synced, then each change. All watches of a client share one stream, which
// resumes by itself and tells nothing twice. Close it to end it.
func (c *Client) Watch(options WatchOptions) *Watch {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watch == nil || c.watch.hasEnded() {
		c.watch = newSharedWatch(c)
	}
	w := &Watch{shared: c.watch, sub: newSubscriber(options.Names, options.Where), closed: make(chan struct{})}
	c.watch.add(w.sub)
	return w
}

// Next is the next event. It blocks until there is one; io.EOF once the watch is closed, the context's error when that ends.
func (w *Watch) Next(ctx context.Context) (Event, error) {
	for {
		select {
		case <-w.closed:
			return Event{}, io.EOF
		default:
		}
		w.shared.mu.Lock()
		event, err := w.sub.next()
		w.shared.mu.Unlock()
		if event != nil {
			return *event, nil
		}
		if err != nil {
			return Event{}, err
		}
		select {
		case <-w.sub.wake:
		case <-w.closed:
		case <-ctx.Done():
			return Event{}, ctx.Err()
		}
	}
}

// Events goes through the events until the watch is closed or the context ends. An error ends it.
func (w *Watch) Events(ctx context.Context) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for {
			event, err := w.Next(ctx)
			if errors.Is(err, io.EOF) || !yield(event, err) || err != nil {
				return
			}
		}
	}
}

// Close ends the watch.
func (w *Watch) Close() {
	w.once.Do(func() {
		close(w.closed)
		w.shared.remove(w.sub)
	})
}

// sharedWatch is the one stream behind all watches of a client, and the goroutine that reads it. Opened by the first watch; ends with the
// last.
type sharedWatch struct {
	client *Client
	cancel context.CancelFunc
	done   chan struct{}

	mu        sync.Mutex
	view      *view
	ended     bool
	everHeard bool
}

// newSharedWatch is called under the client's lock.
func newSharedWatch(c *Client) *sharedWatch {
	ctx, cancel := context.WithCancel(c.closing)
	w := &sharedWatch{client: c, cancel: cancel, done: make(chan struct{}), view: newView()}
	c.threads.Add(1)
	go func() {
		defer c.threads.Done()
		defer close(w.done)
		w.run(ctx)
	}()
	return w
}

func (w *sharedWatch) hasEnded() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ended
}

func (w *sharedWatch) add(s *subscriber) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.view.add(s)
}

func (w *sharedWatch) remove(s *subscriber) {
	w.mu.Lock()
	delete(w.view.subscribers, s)
	last := len(w.view.subscribers) == 0
	if last {
		w.ended = true
	}
	w.mu.Unlock()
	if last {
		w.cancel()
		<-w.done
	}
}

func (w *sharedWatch) run(ctx context.Context) {
	wait := newBackoff(100*time.Millisecond, 20*time.Second)
	for {
		err := w.read(ctx, wait)
		w.mu.Lock()
		if ctx.Err() != nil {
			w.ended = true
			w.view.end(ErrClosed)
		} else if err != nil && !w.view.failedWith(err, w.everHeard) {
			w.ended = true
		}
		ended := w.ended
		w.mu.Unlock()
		if ended || (sleep(ctx, wait.pause(retryDelay(err))) != nil && w.endClosed()) {
			return
		}
	}
}

func (w *sharedWatch) endClosed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	w.view.end(ErrClosed)
	return true
}

// read reads one stream to its end.
func (w *sharedWatch) read(ctx context.Context, wait *backoff) error {
	conn, release, err := w.client.acquire()
	if err != nil {
		return err
	}
	defer release()
	w.mu.Lock()
	request := w.view.request()
	w.mu.Unlock()
	out, cancel := w.client.outgoing(ctx)
	defer cancel()
	// A stream on which nothing comes, not even a heartbeat, is dead, whatever TCP believes.
	var silent atomic.Bool
	timer := time.AfterFunc(silence, func() { silent.Store(true); cancel() })
	defer timer.Stop()
	stream, err := pb.NewFineTuneServiceClient(conn).WatchFineTunes(out, request, grpc.WaitForReady(true))
	for err == nil {
		var response *pb.WatchFineTunesResponse
		if response, err = stream.Recv(); err != nil {
			break
		}
		timer.Reset(silence)
		w.mu.Lock()
		w.everHeard = true
		if response.GetResumeToken() != "" {
			wait.reset() // Only a stream that gets somewhere ends the backing off.
		}
		w.view.apply(response)
		w.mu.Unlock()
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	if silent.Load() {
		return &Error{Code: codes.Unavailable, Message: fmt.Sprintf("nothing was heard from the gateway for %v", silence), cause: err}
	}
	return w.client.failure(ctx, err)
}
