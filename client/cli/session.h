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

// What every command shares: the flags before and after its name, the outputs, the client. Owned by
// RunCli; used on its thread only, but `out` inside the callback of a watch.
struct Session {
  std::ostream& out;
  std::ostream& err;
  const Terminal terminal;

  // Flags; the gateway's are those of the context where they are empty.
  Context gateway;
  std::string context;
  std::string timeout = "30s";
  std::string output = "table";
  bool no_color = false;
  bool utc = false;

  int exit_code = 0;

  // Of `output`, which was checked when the flag was read.
  OutputFormat format;
  // How many messages were printed.
  int printed = 0;

  bool for_people() const { return format.for_people(); }
  Colours colours() const;
  absl::Duration call_timeout() const;
  // Of a table on this output; 0 where it is not fitted.
  size_t table_width() const;
  Table NewTable(std::vector<Column> columns) const;

  // What the context and the defaults leave of the flags.
  absl::StatusOr<Context> Gateway() const;
  // Made by the first call of it.
  absl::StatusOr<FineTuneClient*> Client();

  // Reports the failure and returns its exit code. `time_flag` gives a call more time.
  int Fail(const absl::Status& status, std::string_view time_flag = "--timeout");

  // One message in the format for programs.
  void Print(const google::protobuf::Message& message);

  // On a terminal: of a key or token that all may read.
  void WarnOfOpenSecrets(const Context& of) const;

  std::unique_ptr<FineTuneClient> client = nullptr;
};

// Tries `make(client)` and reports what fails on the way to a client.
template <typename Use>
int WithClient(Session& session, const Use& use) {
  auto client = session.Client();
  if (!client.ok()) return session.Fail(client.status());
  return use(**client);
}

}  // namespace finetune::cli
