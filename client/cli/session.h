#pragma once

#include <google/protobuf/message.h>

#include <iosfwd>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/cli/config_file.h"
#include "client/cli/output_format.h"
#include "client/cli/table.h"
#include "client/cli/terminal.h"
#include "client/cli/text.h"
#include "client/cpp/client.h"

namespace finetune::cli {

// What all commands share: the flags before and after the command, the outputs, the client. Owned
// by RunCli; used only on its thread, except `out` inside the callback of a watch.
struct Session {
  std::ostream& out;
  std::ostream& err;
  const Terminal terminal;

  // The flags; empty ones of the gateway are taken from the context.
  Context gateway;
  std::string context;
  std::string timeout = "30s";
  std::string output = "table";
  bool no_color = false;
  bool utc = false;

  int exit_code = 0;

  // The parsed `output`, which was checked when the flag was read.
  OutputFormat format;
  // How many messages were printed.
  int printed = 0;

  bool for_people() const { return format.for_people(); }
  Colours colours() const;
  absl::Duration call_timeout() const;
  // The width for tables on this output; 0 if they are not fitted to one.
  size_t table_width() const;
  Table NewTable(std::vector<Column> columns) const;

  // How to reach the gateway, from the flags, the context and the defaults.
  absl::StatusOr<Context> Gateway() const;
  // The client, made by the first call.
  absl::StatusOr<FineTuneClient*> Client();

  // Reports the failure and returns its exit code. `time_flag` is the flag that gives a call more
  // time.
  int Fail(const absl::Status& status, std::string_view time_flag = "--timeout");

  // Prints one message in the format for programs.
  void Print(const google::protobuf::Message& message);

  // On a terminal, warns of a key or token file that others may read.
  void WarnOfOpenSecrets(const Context& of) const;

  std::unique_ptr<FineTuneClient> client = nullptr;
};

// Returns `use(client)`, or reports why there is no client and returns that exit code.
template <typename Use>
int WithClient(Session& session, const Use& use) {
  auto client = session.Client();
  if (!client.ok()) return session.Fail(client.status());
  return use(**client);
}

}  // namespace finetune::cli
