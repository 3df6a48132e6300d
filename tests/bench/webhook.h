#pragma once

#include <string>

namespace finetune::bench {

struct WebhookOptions {
  std::string target;       // The gateway's gRPC address.
  std::string webhook_url;  // Its webhook door, with the token.
  std::string emulator_url;
  std::string api_key;
  std::string upstream_id;  // The job that changes at Segmind.
  int pid = 0;              // The gateway's.
  int streams = 1000;
  int connections = 10;
  int changes = 300;
};

// Changes a job at Segmind, posts the webhook that says so, and waits until each stream was told of
// it. Times are from the moment before the webhook is sent; beside each, `all_read_ms` is how long
// a read of the job took that this process made itself just before. Prints one JSON object.
bool RunWebhook(const WebhookOptions& options);

}  // namespace finetune::bench
