#include "client/cli/session.h"

#include <google/protobuf/util/json_util.h>
#include <sys/stat.h>

#include <ostream>

#include "absl/strings/str_cat.h"
#include "client/cli/exit_code.h"
#include "client/cli/values.h"
#include "client/cli/why_unreachable.h"

namespace finetune::cli {
namespace {

constexpr char kDefaultServer[] = "127.0.0.1:50051";

// Takes from the context what no flag says.
void FillIn(const Context& from, Context& gateway) {
  for (std::string Context::*text :
       {&Context::server, &Context::tls_ca, &Context::tls_cert, &Context::tls_key,
        &Context::tls_server_name, &Context::token_file}) {
    if ((gateway.*text).empty()) gateway.*text = from.*text;
  }
  gateway.tls = gateway.tls || from.tls;
  gateway.allow_insecure_token = gateway.allow_insecure_token || from.allow_insecure_token;
}

ConnectOptions OptionsOf(const Context& gateway, absl::Duration timeout) {
  return {.tls = gateway.tls,
          .tls_ca = gateway.tls_ca,
          .tls_cert = gateway.tls_cert,
          .tls_key = gateway.tls_key,
          .tls_server_name = gateway.tls_server_name,
          .token_file = gateway.token_file,
          .allow_insecure_token = gateway.allow_insecure_token,
          .timeout = timeout,
          // Whoever types a wrong address wants to know at once.
          .wait_for_ready = false};
}

}  // namespace

absl::Duration Session::call_timeout() const {
  // Checked when the flag was read.
  return ParseTimespan(timeout).value_or(absl::Seconds(30));
}

Colours Session::colours() const { return Colours(terminal.out && terminal.coloured && !no_color); }

size_t Session::table_width() const {
  return terminal.out && format.kind() != OutputFormat::Kind::kWide
             ? static_cast<size_t>(terminal.Columns())
             : 0;
}

Table Session::NewTable(std::vector<Column> columns) const {
  const bool wide = format.kind() == OutputFormat::Kind::kWide;
  return Table(std::move(columns), table_width(), wide);
}

absl::StatusOr<Context> Session::Gateway() const {
  Context result = gateway;
  const auto config = ReadConfig(ConfigPath());
  if (!config.ok()) return config.status();
  // A server given by a flag is not the current context's, and neither are its certificates.
  const std::string& name = !context.empty()         ? context
                            : gateway.server.empty() ? config->current
                                                     : context;
  if (!name.empty()) {
    const auto found = config->contexts.find(name);
    if (found == config->contexts.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat("there is no context `", name,
                       "`; `finetune config get-contexts` lists the existing ones"));
    }
    FillIn(found->second, result);
  }
  if (result.server.empty()) result.server = kDefaultServer;
  return result;
}

absl::StatusOr<FineTuneClient*> Session::Client() {
  if (client == nullptr) {
    const auto to = Gateway();
    if (!to.ok()) return to.status();
    WarnOfOpenSecrets(*to);
    auto made = Connect(to->server, OptionsOf(*to, call_timeout()));
    if (!made.ok()) return made.status();
    client = *std::move(made);
  }
  return client.get();
}

void Session::WarnOfOpenSecrets(const Context& of) const {
  // Between programs, mounted secrets are often readable by everybody, and nobody reads this.
  if (!terminal.err) return;
  for (const std::string* path : {&of.tls_key, &of.token_file}) {
    struct stat facts;
    if (path->empty() || stat(path->c_str(), &facts) != 0 || !S_ISREG(facts.st_mode) ||
        (facts.st_mode & S_IROTH) == 0)
      continue;
    err << "warning: everybody on this machine may read " << Printable(*path) << ": chmod o-r it\n";
  }
}

int Session::Fail(const absl::Status& status, std::string_view time_flag) {
  // An error without a reason comes from the connection, and its words do not name the gateway.
  const bool from_connection = client != nullptr && ErrorReasonNameOf(status).empty() &&
                               !status.GetPayload(kStorageFailure) && !status.GetPayload(kAdvice);
  if (from_connection && absl::IsUnavailable(status)) {
    Connection& connection = client->connection();
    const Cause cause =
        WhyUnreachable(connection.target(), connection.options(), connection.tls_pem());
    absl::Status told = absl::UnavailableError(
        absl::StrCat("cannot reach the gateway at ", connection.target(), ": ",
                     cause.what.empty() ? std::string(status.message()) : cause.what));
    if (!cause.advice.empty()) told.SetPayload(kAdvice, absl::Cord(cause.advice));
    PrintError(told, err, time_flag);
  } else if (from_connection && absl::IsDeadlineExceeded(status) &&
             status.message() == "Deadline Exceeded") {
    PrintError(
        absl::DeadlineExceededError(absl::StrCat("the gateway at ", client->connection().target(),
                                                 " did not answer within ", timeout)),
        err, time_flag);
  } else {
    PrintError(status, err, time_flag);
  }
  return ExitCodeOf(status);
}

void Session::Print(const google::protobuf::Message& message) {
  std::string json;
  if (!google::protobuf::util::MessageToJsonString(message, &json).ok()) return;
  if (printed == 0) {
    const std::string warning = format.WarningFor(*message.GetDescriptor());
    if (!warning.empty()) err << "finetune: " << Printable(warning) << "\n";
  }
  out << format.Write(json, printed++ == 0) << std::flush;
}

}  // namespace finetune::cli
