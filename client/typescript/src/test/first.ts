// The first program of the README, so that it is compiled. Nothing here runs.
import { connect } from "@segmind/finetune-gateway";

const gateway = connect("finetune-gateway:50051", { tlsCa: "ca.crt", tokenFile: "token" });
const data = await gateway.upload("cats", { publicRead: true }); // A folder of images, or a zip.
const job = await gateway.submit({
  displayName: "cats", dataSourceUri: data.dataSourceUri, baseModel: "FAST_FLUX", instancePrompt: "a photo of TOK cat", triggerWord: "TOK",
});
const done = await gateway.wait(job.name, "AVAILABLE");
console.log((await gateway.download(done.name, "cats.safetensors")).sha256);
gateway.close();
