#pragma once

#include <google/protobuf/message.h>

#include <iosfwd>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cli/cli.h"
#include "client/cli/text.h"
#include "client/cpp/client.h"

namespace finetune::cli {

// What every command shares: the flags before and after its name, the outputs, the client. Owned by
// RunCli; used on its thread only, but `out` inside the callback of a watch.
struct Session {
  std::ostream& out;
  std::ostream& err;
  const Terminal terminal;

  // Flags.
  std::string server = "127.0.0.1:50051";
  ConnectOptions connect;
  std::string timeout = "30s";
  std::string output = "table";
  bool no_color = false;

  int exit_code = 0;

  bool json() const { return output == "json"; }
  Colours colours() const;
  absl::Duration call_timeout() const;

  // Made by the first call of it.
  absl::StatusOr<FineTuneClient*> Client();

  // Reports the failure and returns its exit code.
  int Fail(const absl::Status& status);

  // One message as one line of proto3 JSON.
  void PrintJson(const google::protobuf::Message& message);

  // On a terminal: of a key or token that all may read.
  void WarnOfOpenSecrets();

  std::unique_ptr<FineTuneClient> client = nullptr;
};

// A job as a page of facts, or as JSON.
void PrintJob(Session& session, const pb::FineTune& job);

// The headings and the row of a job in a list.
std::vector<std::string> JobHeadings();
std::vector<Cell> JobRow(const pb::FineTune& job, absl::Time now, const Colours& colours);

}  // namespace finetune::cli
