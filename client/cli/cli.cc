#include "client/cli/cli.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/exit_code.h"
#include "client/cli/session.h"
#include "client/cli/text.h"
#include "client/cli/values.h"

namespace finetune::cli {
namespace {

std::string Complaint(const absl::Status& status) { return std::string(status.message()); }

void AddGlobalOptions(CLI::App& app, Session& session) {
  app.set_version_flag("--version", absl::StrCat("finetune ", FINETUNE_VERSION),
                       "Show the version");
  app.add_option("--server", session.server, "The gateway, host:port; 127.0.0.1:50051 if not given")
      ->envname("FINETUNE_SERVER");
  app.add_flag("--tls", session.connect.tls,
               "TLS with the system's authorities; implied by the files");
  app.add_option("--tls-ca", session.connect.tls_ca, "Certificate authorities, PEM")
      ->envname("FINETUNE_TLS_CA")
      ->type_name("FILE");
  app.add_option("--tls-cert", session.connect.tls_cert, "Your certificate, PEM")
      ->envname("FINETUNE_TLS_CERT")
      ->type_name("FILE");
  app.add_option("--tls-key", session.connect.tls_key, "Your key, PEM")
      ->envname("FINETUNE_TLS_KEY")
      ->type_name("FILE");
  app.add_option("--token-file", session.connect.token_file, "Your bearer token")
      ->envname("FINETUNE_TOKEN_FILE")
      ->type_name("FILE");
  app.add_flag("--allow-insecure-token", session.connect.allow_insecure_token,
               "Send the token without TLS; only where something else encrypts");
  app.add_option("--timeout", session.timeout, "How long a call may take; 30s if not given")
      ->check(IsTimespan());
  app.add_option("--output", session.output, "table (default) or json")
      ->check(CLI::IsMember({"table", "json"}))
      ->envname("FINETUNE_OUTPUT");
  app.add_flag("--no-color", session.no_color, "No colours; NO_COLOR does the same");
}

}  // namespace

CLI::Validator IsTimespan() {
  return CLI::Validator(
      [](std::string& text) {
        const auto span = ParseTimespan(text);
        return span.ok() ? "" : Complaint(span.status());
      },
      "TIME");
}

CLI::Validator IsState() {
  return CLI::Validator(
      [](std::string& text) {
        const auto state = ParseState(text);
        return state.ok() ? "" : Complaint(state.status());
      },
      "");
}

CLI::Validator IsPair() {
  return CLI::Validator(
      [](std::string& text) {
        const auto pair = ParsePair(text);
        return pair.ok() ? "" : Complaint(pair.status());
      },
      "KEY=VALUE");
}

int RunCli(const std::vector<std::string>& args, std::ostream& out, std::ostream& err,
           Terminal terminal) {
  Session session{.out = out, .err = err, .terminal = terminal};
  CLI::App app("Segmind fine-tuning through the gateway.", "finetune");
  app.fallthrough();
  app.require_subcommand(1);
  app.footer(absl::StrCat(kExitCodesHelp,
                          "\n\nExamples:\n"
                          "  finetune create --help\n"
                          "  finetune list --filter 'state = TRAINING'\n"
                          "  finetune watch --output json --server gateway:50051\n"));
  AddGlobalOptions(app, session);
  AddCreate(app, session);
  AddGet(app, session);
  AddList(app, session);
  AddWatch(app, session);
  AddWait(app, session);
  AddUpdate(app, session);
  AddUploadUrl(app, session);
  AddUpload(app, session);
  AddDownload(app, session);
  AddStatus(app, session);
  AddCompletion(app, session);
  std::vector<std::string> reversed(args.rbegin(), args.rend());
  try {
    app.parse(reversed);
  } catch (const CLI::ParseError& error) {
    const auto words = app.remaining();
    if (app.get_subcommands().empty() && !words.empty()) {
      err << "There is no command `" << Printable(words.front())
          << "`.\nRun with --help for more information.\n";
      return kUsage;
    }
    if (app.exit(error, out, err) != 0) return kUsage;
  }
  out.flush();
  if (!out && session.exit_code == kSuccess) {
    err << "finetune: the output could not be written.\n";
    return kInternal;
  }
  return session.exit_code;
}

}  // namespace finetune::cli
