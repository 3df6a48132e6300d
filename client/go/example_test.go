package finetune_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	finetune "github.com/segmind/finetune-gateway/client/go"
	pb "github.com/segmind/finetune-gateway/client/go/finetunev1"
)

func submitting(ctx context.Context, gateway *finetune.Client, job *pb.FineTune) {
	requestID := finetune.NewRequestID() // Kept before the call.
	made, err := gateway.SubmitRequest(ctx, &pb.CreateFineTuneRequest{FineTune: job, RequestId: requestID})
	if err == nil && made.Unknown() {
		log.Println("being found out:", made.Name())
	}
}

func watching(ctx context.Context, gateway *finetune.Client) error {
	watch := gateway.Watch(finetune.WatchOptions{Where: func(job *pb.FineTune) bool { return job.GetLabels()["team"] == "search" }})
	defer watch.Close()
	for event, err := range watch.Events(ctx) {
		if err != nil {
			return err
		}
		fmt.Println(event.Kind, event.FineTune.GetDisplayName(), event.FineTune.GetState())
	}
	return nil
}

func listing(ctx context.Context, gateway *finetune.Client) error {
	for job, err := range gateway.List(ctx, finetune.ListOptions{Filter: `state = AVAILABLE AND labels.team = "search"`, OrderBy: "display_name"}) {
		if err != nil {
			return err
		}
		_, err = gateway.Update(ctx, job.GetName(), finetune.Changes{Labels: map[string]string{"stage": "prod"}, RemoveLabels: []string{"draft"}})
		if finetune.ReasonOf(err) == "ROLE_NOT_ALLOWED" {
			return err
		}
	}
	return nil
}

func failing(err error) {
	var failed *finetune.Error
	if errors.As(err, &failed) {
		for _, violation := range failed.Violations {
			fmt.Println(violation.Field, violation.Description)
		}
		fmt.Println(failed.Reason, failed.RetryDelay, failed.RequestID)
	}
}

func Example() {
	_, _, _, _ = submitting, watching, listing, failing
}
