package finetune

import (
	pb "github.com/segmind/finetune-gateway/client/go/finetunev1"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
)

func updateRequest(name string, changes Changes) *pb.UpdateFineTuneRequest {
	request := &pb.UpdateFineTuneRequest{
		FineTune:   &pb.FineTune{Name: name, Etag: changes.ETag, Visibility: changes.Visibility, Labels: changes.Labels},
		UpdateMask: &fieldmaskpb.FieldMask{}}
	if changes.Visibility != pb.FineTune_VISIBILITY_UNSPECIFIED {
		request.UpdateMask.Paths = append(request.UpdateMask.Paths, "visibility")
	}
	for key := range changes.Labels {
		request.UpdateMask.Paths = append(request.UpdateMask.Paths, "labels."+key)
	}
	for _, key := range changes.RemoveLabels {
		request.UpdateMask.Paths = append(request.UpdateMask.Paths, "labels."+key)
	}
	return request
}
