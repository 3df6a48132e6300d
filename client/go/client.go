package finetune

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"time"

	pb "github.com/segmind/finetune-gateway/client/go/finetunev1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

// IsTerminal says whether a job in this state has ended. A state that this version does not know has not.
func IsTerminal(state pb.FineTune_State) bool {
	switch state {
	case pb.FineTune_AVAILABLE, pb.FineTune_FAILED, pb.FineTune_LOST, pb.FineTune_CANCELLED:
		return true
	}
	return false
}

// HasReached says whether a job in this state has reached the wanted one, itself or a later stage of success.
func HasReached(state, wanted pb.FineTune_State) bool {
	return state == wanted || (wanted != pb.FineTune_SUBMIT_UNKNOWN && wanted < state && state <= pb.FineTune_AVAILABLE)
}

// Submission is a job that was submitted, and the request_id that names the submission.
type Submission struct {
	FineTune  *pb.FineTune
	RequestID string
}

// Name of the job.
func (s *Submission) Name() string { return s.FineTune.GetName() }

// Unknown says that nobody knows yet whether Segmind took the job (SUBMIT_UNKNOWN). The gateway finds out: wait for the job or watch
// it, and never submit it again under another request_id.
func (s *Submission) Unknown() bool { return s.FineTune.GetState() == pb.FineTune_SUBMIT_UNKNOWN }

// NewRequestID makes a request_id, a random UUID, to be kept before a submit that must survive a crash.
func NewRequestID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// Submit submits a job: one request_id makes at most one job, whatever fails. It makes one, and repeats the call with it while the
// gateway is out of reach, until the context ends, or for a minute if it has no deadline. The error of one that failed has the
// request_id to repeat it with.
func (c *Client) Submit(ctx context.Context, job *pb.FineTune) (*Submission, error) {
	return c.SubmitRequest(ctx, &pb.CreateFineTuneRequest{FineTune: job})
}

// SubmitRequest is Submit with all that the contract has, such as a request_id of the caller's own, or validate_only.
func (c *Client) SubmitRequest(ctx context.Context, request *pb.CreateFineTuneRequest) (*Submission, error) {
	request = proto.Clone(request).(*pb.CreateFineTuneRequest)
	if request.GetRequestId() == "" && !request.GetValidateOnly() {
		request.RequestId = NewRequestID()
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Minute)
		defer cancel()
	}
	wait := newBackoff(250*time.Millisecond, 5*time.Second)
	for {
		job, err := call(ctx, c, pb.FineTuneServiceClient.CreateFineTune, request)
		if err == nil {
			return &Submission{job, request.GetRequestId()}, nil
		}
		var failed *Error
		if errors.As(err, &failed) {
			failed.RequestID = request.GetRequestId()
		}
		pause := wait.pause(retryDelay(err))
		if deadline, _ := ctx.Deadline(); !worthRepeating(err) || ctx.Err() != nil || time.Until(deadline) <= pause {
			return nil, err
		}
		if sleep(ctx, pause) != nil {
			return nil, err
		}
	}
}

// Get gives the job `fineTunes/{id}`, from the gateway's memory.
func (c *Client) Get(ctx context.Context, name string) (*pb.FineTune, error) {
	return call(ctx, c, pb.FineTuneServiceClient.GetFineTune, &pb.GetFineTuneRequest{Name: name})
}

// GetFresh is Get with a bound on the age of what is told; zero asks Segmind now.
func (c *Client) GetFresh(ctx context.Context, name string, maxStaleness time.Duration) (*pb.FineTune, error) {
	return call(ctx, c, pb.FineTuneServiceClient.GetFineTune, &pb.GetFineTuneRequest{
		Name: name, Freshness: &pb.Freshness{MaxStaleness: durationpb.New(maxStaleness)}})
}

// ListOptions choose and order jobs; see ListFineTunesRequest.
type ListOptions struct {
	Filter, OrderBy string
	PageSize        int32
	View            pb.FineTuneView
}

// List goes through all jobs that match, newest first, page by page as they are asked for. An error ends it.
func (c *Client) List(ctx context.Context, options ListOptions) iter.Seq2[*pb.FineTune, error] {
	return func(yield func(*pb.FineTune, error) bool) {
		request := &pb.ListFineTunesRequest{
			Filter: options.Filter, OrderBy: options.OrderBy, PageSize: options.PageSize, View: options.View}
		for {
			page, err := call(ctx, c, pb.FineTuneServiceClient.ListFineTunes, request)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, job := range page.GetFineTunes() {
				if !yield(job, nil) {
					return
				}
			}
			if page.GetNextPageToken() == "" {
				return
			}
			request.PageToken = page.GetNextPageToken()
		}
	}
}

// Changes of an update; what is not given stays as it is.
type Changes struct {
	Visibility   pb.FineTune_Visibility
	Labels       map[string]string
	RemoveLabels []string
	// ETag, if set, must be the job's current one (ETAG_MISMATCH).
	ETag string
}

// Update changes a job's visibility, at Segmind, and its labels.
func (c *Client) Update(ctx context.Context, name string, changes Changes) (*pb.FineTune, error) {
	return call(ctx, c, pb.FineTuneServiceClient.UpdateFineTune, updateRequest(name, changes))
}

// Status tells how healthy and how fresh the gateway is, who you are to it, and what you may still do.
func (c *Client) Status(ctx context.Context) (*pb.GatewayStatus, error) {
	return call(ctx, c, pb.FineTuneServiceClient.GetGatewayStatus, &pb.GetGatewayStatusRequest{})
}

// UploadURL makes a URL to which a dataset can be PUT directly, by whoever has internet access.
func (c *Client) UploadURL(ctx context.Context, fileName string, publicRead bool) (*pb.UploadUrl, error) {
	return call(ctx, c, pb.FineTuneServiceClient.CreateUploadUrl, &pb.CreateUploadUrlRequest{FileName: fileName, PublicRead: publicRead})
}

const (
	// A longer wait is made of several calls, so that one that was lost on its way is noticed.
	waitSlice = 10 * time.Minute
	// What a call may take beyond the time that it waits.
	waitGrace = 30 * time.Second
)

// Wait returns the job once it has reached the state, or has ended otherwise: look at its state. It lasts as long as the context, also
// across restarts of the gateway; *WaitTimeoutError when the context's deadline has passed. It fails if the gateway was never there within
// ConnectTimeout.
func (c *Client) Wait(ctx context.Context, name string, until pb.FineTune_State) (*pb.FineTune, error) {
	if err := c.reach(ctx); err != nil {
		return nil, err
	}
	wait := newBackoff(250*time.Millisecond, 5*time.Second)
	var seen *pb.FineTune
	for {
		slice := waitSlice
		if deadline, ok := ctx.Deadline(); ok {
			slice = max(0, min(slice, time.Until(deadline)))
		}
		began := time.Now()
		answer, err := c.waitOnce(ctx, name, until, slice)
		pause := time.Duration(0)
		if err == nil {
			seen = answer.GetFineTune()
			if answer.GetDone() || HasReached(seen.GetState(), until) || IsTerminal(seen.GetState()) {
				return seen, nil
			}
			if time.Since(began) < slice/2 {
				pause = wait.pause(nil) // A server that answers before its time is not asked in a tight loop.
			} else {
				wait.reset()
			}
		} else if ctx.Err() == nil {
			var failed *Error
			late := errors.As(err, &failed) && failed.Code == codes.DeadlineExceeded
			if !late && !worthRepeating(err) {
				return nil, err
			}
			pause = wait.pause(retryDelay(err))
		}
		if sleep(ctx, pause) != nil || ctx.Err() != nil {
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil, &WaitTimeoutError{name, until, seen}
			}
			return nil, &Error{Code: codes.Canceled, Message: "the wait was cancelled", cause: ctx.Err()}
		}
	}
}

func (c *Client) waitOnce(ctx context.Context, name string, until pb.FineTune_State, slice time.Duration) (*pb.WaitFineTuneResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, slice+waitGrace)
	defer cancel()
	return call(ctx, c, pb.FineTuneServiceClient.WaitFineTune, &pb.WaitFineTuneRequest{Name: name, Until: until, Timeout: durationpb.New(slice)})
}
