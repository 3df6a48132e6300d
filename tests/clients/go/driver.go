// Drives the Go client: see ../README.md.
package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	finetune "github.com/segmind/finetune-gateway/client/go"
	pb "github.com/segmind/finetune-gateway/client/go/finetunev1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

type command struct {
	ID             int               `json:"id"`
	Op             string            `json:"op"`
	Target         json.RawMessage   `json:"target"`
	TLSCA          string            `json:"tls_ca"`
	TLSCert        string            `json:"tls_cert"`
	TLSKey         string            `json:"tls_key"`
	TLSServerName  string            `json:"tls_server_name"`
	TokenFile      string            `json:"token_file"`
	ConnectTimeout float64           `json:"connect_timeout"`
	FineTune       json.RawMessage   `json:"fine_tune"`
	RequestID      string            `json:"request_id"`
	ValidateOnly   bool              `json:"validate_only"`
	Timeout        float64           `json:"timeout"`
	Name           string            `json:"name"`
	Names          []string          `json:"names"`
	State          string            `json:"state"`
	SlowMS         int               `json:"slow_ms"`
	Until          string            `json:"until"`
	Filter         string            `json:"filter"`
	OrderBy        string            `json:"order_by"`
	PageSize       int32             `json:"page_size"`
	Visibility     string            `json:"visibility"`
	Labels         map[string]string `json:"labels"`
	RemoveLabels   []string          `json:"remove_labels"`
	ETag           string            `json:"etag"`
	Path           string            `json:"path"`
	PublicRead     bool              `json:"public_read"`
	FileName       string            `json:"file_name"`
}

type object map[string]any

type driver struct {
	mu      sync.Mutex
	output  *json.Encoder
	gateway *finetune.Client
	cancels map[int]context.CancelFunc
	ended   map[int]chan struct{}
}

func (d *driver) say(message object) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.output.Encode(message)
}

func shown(message proto.Message) json.RawMessage {
	text, err := protojson.Marshal(message)
	if err != nil {
		panic(err)
	}
	return text
}

func described(err error) object {
	var timeout *finetune.WaitTimeoutError
	var failed *finetune.Error
	switch {
	case errors.As(err, &timeout):
		return object{"code": "WAIT_TIMEOUT", "message": err.Error()}
	case errors.Is(err, finetune.ErrClosed), errors.Is(err, context.Canceled):
		return object{"code": "CANCELLED", "message": err.Error()}
	case !errors.As(err, &failed):
		return object{"code": "LOCAL", "message": err.Error()}
	}
	said := object{"code": codeName(failed.Code), "reason": failed.Reason, "message": failed.Message, "request_id": failed.RequestID}
	violations, quota := []object{}, []object{}
	for _, v := range failed.Violations {
		violations = append(violations, object{"field": v.Field, "description": v.Description})
	}
	for _, v := range failed.Quota {
		quota = append(quota, object{"subject": v.Subject, "description": v.Description})
	}
	said["violations"], said["quota"] = violations, quota
	if failed.RetryDelay != nil {
		said["retry_delay"] = failed.RetryDelay.Seconds()
	}
	return said
}

// codeName is gRPC's name of a code, in its own spelling.
func codeName(code codes.Code) string {
	return [...]string{"OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
		"PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL",
		"UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"}[code]
}

func (d *driver) execute(ctx context.Context, c command) {
	done, err := d.done(ctx, c)
	if err != nil {
		d.say(object{"id": c.ID, "error": described(err)})
	} else {
		d.say(object{"id": c.ID, "ok": done})
	}
}

func (d *driver) done(ctx context.Context, c command) (object, error) {
	if c.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(c.Timeout*float64(time.Second)))
		defer cancel()
	}
	told := 0
	progress := func(done, total int64) { told++ }
	switch c.Op {
	case "connect":
		if d.gateway != nil {
			d.gateway.Close()
		}
		var target string
		json.Unmarshal(c.Target, &target)
		gateway, err := finetune.Connect(target, finetune.Options{
			TLSCA: c.TLSCA, TLSCert: c.TLSCert, TLSKey: c.TLSKey, TLSServerName: c.TLSServerName, TokenFile: c.TokenFile,
			ConnectTimeout: time.Duration(c.ConnectTimeout * float64(time.Second))})
		if err != nil {
			return nil, err
		}
		d.gateway = gateway
		return object{}, nil
	case "close":
		return object{}, d.gateway.Close()
	case "cancel":
		var target int
		json.Unmarshal(c.Target, &target)
		d.mu.Lock()
		cancel, ended := d.cancels[target], d.ended[target]
		d.mu.Unlock()
		cancel()
		<-ended
		return object{}, nil
	case "submit":
		job := &pb.FineTune{}
		if err := protojson.Unmarshal(c.FineTune, job); err != nil {
			return nil, err
		}
		made, err := d.gateway.SubmitRequest(ctx, &pb.CreateFineTuneRequest{FineTune: job, RequestId: c.RequestID, ValidateOnly: c.ValidateOnly})
		if err != nil {
			return nil, err
		}
		return object{"fine_tune": shown(made.FineTune), "request_id": made.RequestID, "unknown": made.Unknown()}, nil
	case "get":
		job, err := d.gateway.Get(ctx, c.Name)
		return object{"fine_tune": shown(job)}, err
	case "list":
		names := []string{}
		for job, err := range d.gateway.List(ctx, finetune.ListOptions{Filter: c.Filter, OrderBy: c.OrderBy, PageSize: c.PageSize}) {
			if err != nil {
				return nil, err
			}
			names = append(names, job.GetName())
		}
		return object{"names": names}, nil
	case "update":
		job, err := d.gateway.Update(ctx, c.Name, finetune.Changes{
			Visibility: pb.FineTune_Visibility(pb.FineTune_Visibility_value[c.Visibility]), Labels: c.Labels, RemoveLabels: c.RemoveLabels, ETag: c.ETag})
		return object{"fine_tune": shown(job)}, err
	case "status":
		status, err := d.gateway.Status(ctx)
		return object{"status": shown(status)}, err
	case "wait":
		job, err := d.gateway.Wait(ctx, c.Name, pb.FineTune_State(pb.FineTune_State_value[c.Until]))
		return object{"fine_tune": shown(job)}, err
	case "watch":
		return object{}, d.watch(ctx, c)
	case "upload":
		dataset, err := d.gateway.Upload(ctx, c.Path, finetune.UploadOptions{PublicRead: c.PublicRead, FileName: c.FileName, Progress: progress})
		return object{"data_source_uri": dataset.GetDataSourceUri(), "size_bytes": dataset.GetSizeBytes(),
			"sha256": hex.EncodeToString(dataset.GetSha256()), "progress": told}, err
	case "upload_url":
		made, err := d.gateway.UploadURL(ctx, c.FileName, c.PublicRead)
		return object{"upload_uri": made.GetUploadUri(), "data_source_uri": made.GetDataSourceUri()}, err
	case "download":
		done, err := d.gateway.Download(ctx, c.Name, c.Path, finetune.DownloadOptions{Progress: progress})
		if err != nil {
			return nil, err
		}
		return object{"size_bytes": done.SizeBytes, "sha256": hex.EncodeToString(done.SHA256[:]), "resumed_bytes": done.ResumedBytes, "progress": told}, nil
	}
	return nil, fmt.Errorf("there is no op %q", c.Op)
}

func (d *driver) watch(ctx context.Context, c command) error {
	options := finetune.WatchOptions{Names: c.Names}
	if c.State != "" {
		options.Where = func(job *pb.FineTune) bool { return job.GetState().String() == c.State }
	}
	watch := d.gateway.Watch(options)
	defer watch.Close()
	for event, err := range watch.Events(ctx) {
		if errors.Is(err, context.Canceled) {
			return nil
		}
		if err != nil {
			return err
		}
		said := object{"kind": event.Kind.String()}
		if job := event.FineTune; job != nil {
			said["name"], said["state"], said["revision"] = job.GetName(), job.GetState().String(), job.GetRevision()
		}
		d.say(object{"id": c.ID, "event": said})
		time.Sleep(time.Duration(c.SlowMS) * time.Millisecond)
	}
	return nil
}

func main() {
	d := &driver{output: json.NewEncoder(os.Stdout), cancels: map[int]context.CancelFunc{}, ended: map[int]chan struct{}{}}
	input := bufio.NewReaderSize(os.Stdin, 1<<20)
	for {
		line, err := input.ReadBytes('\n')
		if err == io.EOF {
			return
		}
		var c command
		if err := json.Unmarshal(line, &c); err != nil {
			panic(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan struct{})
		d.mu.Lock()
		d.cancels[c.ID], d.ended[c.ID] = cancel, ended
		d.mu.Unlock()
		go func() {
			defer close(ended)
			d.execute(ctx, c)
		}()
	}
}
