#include "client/cpp/client.h"

int main(int, char** argv) {
  auto gateway =
      finetune::OrExit(finetune::Connect(argv[1], {.tls_ca = "ca.crt", .token_file = "token"}));
  finetune::pb::FineTune job;
  job.set_display_name("cats");
  job.set_base_model("FLUX");
  job.set_instance_prompt("a photo of TOK cat");
  job.set_trigger_word("TOK");
  job.set_data_source_uri(finetune::OrExit(gateway->Upload("cats")).data_source_uri());
  job = finetune::OrExit(gateway->Submit(job)).fine_tune;
  job = finetune::OrExit(gateway->Wait(job.name()));
  finetune::OrExit(gateway->Download(job.name(), "cats.safetensors"));
}
