import com.segmind.finetune.*;
import com.segmind.finetune.v1.*;
import java.nio.file.Path;

public class First {
  public static void main(String[] arguments) throws Exception {
    Settings settings = Settings.insecure().withTlsCa(Path.of("ca.crt")).withTokenFile(Path.of("token"));
    try (FineTuneGateway gateway = FineTuneGateway.connect("finetune-gateway:50051", settings)) {
      Dataset data = gateway.upload(Path.of("cats"), true); // A folder of images, or a zip.
      Submission job = gateway.submit(FineTune.newBuilder().setDisplayName("cats").setDataSourceUri(data.getDataSourceUri())
          .setBaseModel("FAST_FLUX").setInstancePrompt("a photo of TOK cat").setTriggerWord("TOK").build());
      FineTune done = gateway.waitFor(job.name(), FineTune.State.AVAILABLE);
      System.out.println(gateway.download(done.getName(), Path.of("cats.safetensors")).sha256());
    }
  }
}
