package finetune

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "github.com/segmind/finetune-gateway/client/go/finetunev1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const errorDomain = "segmind-finetune-gateway"

// ErrClosed is what calls of a closed client fail with.
var ErrClosed = errors.New("the client is closed")

// Violation is a field of the request that is wrong, and why.
type Violation struct{ Field, Description string }

// QuotaViolation is a limit that was reached: whose, and which.
type QuotaViolation struct{ Subject, Description string }

// Error is a failed call.
type Error struct {
	Code codes.Code
	// Reason is a name of the contract's ErrorReason, such as "FINE_TUNE_NOT_FOUND"; empty if the gateway gave none, as when it is
	// out of reach.
	Reason string
	// Message is a sentence for people.
	Message string
	// Violations are the fields that are wrong, of INVALID_FIELD.
	Violations []Violation
	// RetryDelay is how long to wait before trying again; nil if the gateway does not say.
	RetryDelay *time.Duration
	// Quota are the limits that were reached, of CLIENT_QUOTA_EXCEEDED.
	Quota []QuotaViolation
	// Resource is the name of the job that the error is about, if the gateway says so.
	Resource string
	// Metadata are more facts, such as Segmind's own status code.
	Metadata map[string]string
	// RequestID is that of a submit that failed: repeat it with this one.
	RequestID string

	cause error
}

func (e *Error) Error() string {
	what := e.Reason
	if what == "" {
		what = e.Code.String()
	}
	return fmt.Sprintf("%s: %s", what, e.Message)
}

// Unwrap gives what gRPC said, or the context's error.
func (e *Error) Unwrap() error { return e.cause }

// GRPCStatus lets status.Code and status.FromError read it.
func (e *Error) GRPCStatus() *status.Status {
	if s, ok := status.FromError(e.cause); ok && s.Code() == e.Code && s.Message() == e.Message {
		return s
	}
	return status.New(e.Code, e.Message)
}

// Must is for programs as small as the README's first: the value, or a panic with the error.
func Must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// ReasonOf is the reason of a failed call, whatever it is wrapped in; empty if there is none.
func ReasonOf(err error) string {
	var failed *Error
	if errors.As(err, &failed) {
		return failed.Reason
	}
	return ""
}

// WaitTimeoutError says that the time of a wait ran out. It is also a context.DeadlineExceeded.
type WaitTimeoutError struct {
	Name  string
	Until pb.FineTune_State
	// FineTune is the job as it was last seen; nil if it never was.
	FineTune *pb.FineTune
}

func (e *WaitTimeoutError) Error() string {
	text := fmt.Sprintf("%s was not %s in time", e.Name, e.Until)
	if e.FineTune != nil {
		text += fmt.Sprintf("; it is %s", e.FineTune.GetState())
	}
	return text
}

func (e *WaitTimeoutError) Unwrap() error { return context.DeadlineExceeded }

func newError(code codes.Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// typed makes an *Error of what gRPC returned; nil of nil.
func typed(err error) error {
	if err == nil {
		return nil
	}
	var already *Error
	if errors.As(err, &already) || errors.Is(err, ErrClosed) {
		return err
	}
	s := status.Convert(err)
	failed := &Error{Code: s.Code(), Message: s.Message(), cause: err}
	for _, detail := range s.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			failed.Metadata = d.GetMetadata()
			if d.GetDomain() == errorDomain {
				failed.Reason = d.GetReason()
			}
		case *errdetails.RetryInfo:
			if d.GetRetryDelay() != nil {
				delay := max(0, d.GetRetryDelay().AsDuration())
				failed.RetryDelay = &delay
			}
		case *errdetails.BadRequest:
			for _, v := range d.GetFieldViolations() {
				failed.Violations = append(failed.Violations, Violation{v.GetField(), v.GetDescription()})
			}
		case *errdetails.QuotaFailure:
			for _, v := range d.GetViolations() {
				failed.Quota = append(failed.Quota, QuotaViolation{v.GetSubject(), v.GetDescription()})
			}
		case *errdetails.ResourceInfo:
			failed.Resource = d.GetResourceName()
		}
	}
	return failed
}

// worthRepeating says whether the same call may succeed later, and repeating it does no harm.
func worthRepeating(err error) bool {
	var failed *Error
	if !errors.As(err, &failed) || errors.Is(err, errUnreachable) {
		return false
	}
	switch failed.Code {
	case codes.Unavailable, codes.Unknown:
		return true
	case codes.Canceled, codes.Internal:
		// A server that shuts down says CANCELLED to calls that it has not looked at; a connection that was reset shows itself as
		// INTERNAL without a reason.
		return failed.Reason == ""
	case codes.ResourceExhausted:
		return failed.RetryDelay != nil
	}
	return false
}

// mayBeOutOfReach says whether the gateway need not have had a part in the failure.
func (e *Error) mayBeOutOfReach() bool {
	return (e.Code == codes.Unavailable || e.Code == codes.DeadlineExceeded) && e.Reason == ""
}

func retryDelay(err error) *time.Duration {
	var failed *Error
	if errors.As(err, &failed) {
		return failed.RetryDelay
	}
	return nil
}
