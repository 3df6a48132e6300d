// The first program of the README.
package main

import (
	"context"

	finetune "github.com/segmind/finetune-gateway/client/go"
	pb "github.com/segmind/finetune-gateway/client/go/finetunev1"
)

func main() {
	ctx := context.Background()
	gateway := finetune.Must(finetune.Connect("finetune-gateway:50051", finetune.Options{TLSCA: "ca.crt", TokenFile: "token"}))
	defer gateway.Close()
	data := finetune.Must(gateway.Upload(ctx, "cats", finetune.UploadOptions{PublicRead: true})) // A folder of images, or a zip.
	job := finetune.Must(gateway.Submit(ctx, &pb.FineTune{DisplayName: "cats", DataSourceUri: data.GetDataSourceUri(), BaseModel: "FAST_FLUX",
		InstancePrompt: "a photo of TOK cat", TriggerWord: "TOK"}))
	done := finetune.Must(gateway.Wait(ctx, job.Name(), pb.FineTune_AVAILABLE))
	finetune.Must(gateway.Download(ctx, done.GetName(), "cats.safetensors", finetune.DownloadOptions{}))
}
