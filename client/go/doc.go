// Package finetune is a client of the Segmind fine-tune gateway: submit jobs, watch them, wait for them, and move datasets and
// weights.
//
//	gateway, err := finetune.Connect("finetune-gateway:50051", finetune.Options{TLSCA: "ca.crt", TokenFile: "token"})
//	if err != nil { … }
//	defer gateway.Close()
//	data, err := gateway.Upload(ctx, "cats", finetune.UploadOptions{PublicRead: true})
//	job, err := gateway.Submit(ctx, &pb.FineTune{DisplayName: "cats", DataSourceUri: data.GetDataSourceUri(), …})
//	done, err := gateway.Wait(ctx, job.Name(), pb.FineTune_AVAILABLE)
//	_, err = gateway.Download(ctx, done.GetName(), "cats.safetensors", finetune.DownloadOptions{})
//
// Every error of a call is an *Error. The messages are those of the contract, package finetunev1.
package finetune
