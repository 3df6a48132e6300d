#include "client/cli/cli.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <algorithm>
#include <filesystem>
#include <ostream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/cli/commands.h"
#include "client/cli/exit_code.h"
#include "client/cli/session.h"
#include "client/cli/suggestion.h"
#include "client/cli/text.h"
#include "client/cli/values.h"
#include "client/cpp/target.h"
#include "server/base/utf8.h"

namespace finetune::cli {
namespace {

constexpr char kGlobalGroup[] = "Options of all commands";

// Empty if the status is OK, as CLI11 wants it.
std::string Complaint(const absl::Status& status) {
  return status.ok() ? "" : std::string(status.message());
}

// Shows the options of all commands in each command's help.
class HelpFormatter : public CLI::Formatter {
 public:
  std::string make_footer(const CLI::App* app) const override {
    const CLI::App* root = app;
    while (root->get_parent() != nullptr) root = root->get_parent();
    std::string options;
    if (root != app) {
      options = make_group(kGlobalGroup, false, root->get_options([](const CLI::Option* option) {
        return option->get_group() == kGlobalGroup;
      }));
    }
    return absl::StrCat(options, CLI::Formatter::make_footer(app));
  }
};

void AddGlobalOptions(CLI::App& app, Session& session) {
  app.option_defaults()->group(kGlobalGroup);
  app.add_option("--server", session.gateway.server,
                 "The gateway, host:port; that of the current context, or 127.0.0.1:50051")
      ->envname("FINETUNE_SERVER")
      ->check(CLI::Validator([](std::string& text) { return Complaint(CheckTarget(text)); },
                             "HOST:PORT"));
  app.add_option("--context", session.context, "The gateway by its name in `finetune config`")
      ->envname("FINETUNE_CONTEXT");
  app.add_flag("--tls", session.gateway.tls,
               "TLS with the system's authorities; implied by the files");
  app.add_option("--tls-ca", session.gateway.tls_ca, "Certificate authorities, PEM")
      ->envname("FINETUNE_TLS_CA")
      ->type_name("FILE");
  app.add_option("--tls-cert", session.gateway.tls_cert, "Your certificate, PEM")
      ->envname("FINETUNE_TLS_CERT")
      ->type_name("FILE");
  app.add_option("--tls-key", session.gateway.tls_key, "Your key, PEM")
      ->envname("FINETUNE_TLS_KEY")
      ->type_name("FILE");
  app.add_option("--tls-server-name", session.gateway.tls_server_name,
                 "The name that the gateway's certificate has, if not the server's");
  app.add_option("--token-file", session.gateway.token_file, "Your bearer token")
      ->envname("FINETUNE_TOKEN_FILE")
      ->type_name("FILE");
  app.add_flag("--allow-insecure-token", session.gateway.allow_insecure_token,
               "Send the token without TLS; only where something else encrypts");
  app.add_option("--timeout", session.timeout, "How long a call may take; 30s if not given")
      ->check(IsTimespan());
  app.add_option("-o,--output", session.output,
                 "table (default), wide, json, yaml, name, csv (of spend), jsonpath=PATH or "
                 "template=TEXT")
      ->check(IsOutput())
      ->envname("FINETUNE_OUTPUT")
      ->type_name("FORMAT");
  app.add_flag("--utc", session.utc, "Times in UTC instead of this machine's zone");
  app.add_flag("--no-color", session.no_color, "No colours; NO_COLOR does the same");
  app.option_defaults()->group("Options");
}

void AddCommands(CLI::App& app, Session& session) {
  AddCreate(app, session);
  AddGet(app, session);
  AddList(app, session);
  AddDescribe(app, session);
  AddWatch(app, session);
  AddWait(app, session);
  AddUpdate(app, session);
  AddUpload(app, session);
  AddUploadUrl(app, session);
  AddDownload(app, session);
  AddStatus(app, session);
  AddWhoAmI(app, session);
  AddSpend(app, session);
  AddConfig(app, session);
  AddCompletion(app, session);
  app.add_subcommand("version", "Show the version")->callback([&session] {
    session.out << "finetune " << FINETUNE_VERSION << "\n";
  });
  app.add_subcommand("help", "Show how a command is used");
}

std::vector<std::string> CommandNames(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands(nullptr)) names.push_back(command->get_name());
  return names;
}

std::vector<std::string> AllOptionNames(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* level = &app; level != nullptr; level = level->get_parent()) {
    for (const CLI::Option* option : level->get_options()) {
      for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    }
  }
  return names;
}

// One sentence about arguments that protobuf cannot hold as text; only file names may have any
// bytes.
std::string WhyNoText(const std::vector<std::string>& args) {
  for (size_t i = 0; i < args.size(); ++i) {
    std::error_code ignored;
    const size_t equals = args[i].find('=');
    if (ValidUtf8(args[i]) == args[i] || std::filesystem::exists(args[i], ignored) ||
        (equals != std::string::npos &&
         std::filesystem::exists(args[i].substr(equals + 1), ignored)))
      continue;
    return absl::StrCat("argument ", i + 1, " is not valid UTF-8: ", Printable(args[i]));
  }
  return "";
}

// `finetune help list` is `finetune list --help`.
std::vector<std::string> WithoutHelpCommand(const std::vector<std::string>& args) {
  if (args.empty() || args.front() != "help") return args;
  std::vector<std::string> rest(args.begin() + 1, args.end());
  rest.emplace_back("--help");
  return rest;
}

// The command as one types it: `finetune config set-context`. Empty for none.
std::string TypedName(const CLI::App* command) {
  if (command == nullptr) return "";
  const std::string above = TypedName(command->get_parent());
  return absl::StrCat(above, above.empty() ? "" : " ", command->get_name());
}

int TellUsage(const CLI::App& app, const CLI::ParseError& error, std::ostream& out,
              std::ostream& err) {
  const CLI::App* command = &app;
  while (!command->get_subcommands().empty()) command = command->get_subcommands().front();
  const std::string help = absl::StrCat("Run `", TypedName(command), " --help` for more.\n");
  const auto words = app.remaining(true);
  std::string what = error.what(), nearest;
  if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::ExtrasError) && !words.empty()) {
    const auto is_flag = [](const std::string& word) { return absl::StartsWith(word, "-"); };
    const auto found = std::find_if(words.begin(), words.end(), is_flag);
    const std::string& word = found == words.end() ? words.front() : *found;
    const std::string bare = word.substr(0, word.find('='));
    what = is_flag(word)     ? absl::StrCat("there is no flag ", Printable(bare))
           : command == &app ? absl::StrCat("there is no command `", Printable(word), "`")
                             : absl::StrCat("`", Printable(word), "` is one argument too many");
    nearest = NearestTo(bare, is_flag(word) ? AllOptionNames(*command) : CommandNames(*command));
  } else if (command == &app && !words.empty()) {
    what = absl::StrCat("there is no command `", Printable(words.front()), "`");
    nearest = NearestTo(words.front(), CommandNames(app));
  }
  if (nearest.empty() && error.get_exit_code() == 0) {
    const CLI::App* asked = dynamic_cast<const CLI::CallForAllHelp*>(&error) ? &app : command;
    out << asked->help(TypedName(asked->get_parent()));
    return kSuccess;
  }
  err << "finetune: " << what << (absl::EndsWith(what, ".") ? "" : ".");
  if (!nearest.empty()) err << " Did you mean `" << nearest << "`?";
  err << "\n" << help;
  return kUsage;
}

int Parse(CLI::App& app, const std::vector<std::string>& args, Session& session) {
  std::vector<std::string> reversed(args.rbegin(), args.rend());
  try {
    app.parse(reversed);
  } catch (const CLI::CallForVersion& version) {
    session.out << version.what() << "\n";
  } catch (const CLI::ParseError& error) {
    return TellUsage(app, error, session.out, session.err);
  }
  return session.exit_code;
}

}  // namespace

CLI::Validator IsTimespan() {
  return CLI::Validator([](std::string& text) { return Complaint(ParseTimespan(text).status()); },
                        "TIME");
}

CLI::Validator IsState() {
  return CLI::Validator([](std::string& text) { return Complaint(ParseState(text).status()); }, "");
}

CLI::Validator IsPair() {
  return CLI::Validator([](std::string& text) { return Complaint(ParsePair(text).status()); },
                        "KEY=VALUE");
}

CLI::Validator IsOutput() {
  return CLI::Validator(
      [](std::string& text) { return Complaint(OutputFormat::Parse(text).status()); }, "");
}

CLI::Validator IsSelector() {
  return CLI::Validator([](std::string& text) { return Complaint(ParseSelector(text).status()); },
                        "KEY=VALUE");
}

std::string FilterOf(const std::string& filter, const std::vector<std::string>& selectors) {
  std::vector<std::string> parts;
  if (!filter.empty()) parts.push_back(selectors.empty() ? filter : absl::StrCat("(", filter, ")"));
  for (const std::string& selector : selectors) parts.push_back(*ParseSelector(selector));
  return absl::StrJoin(parts, " AND ");
}

int RunCli(const std::vector<std::string>& args, std::ostream& out, std::ostream& err,
           const Terminal& terminal) {
  // Files and pipes take UTF-8 whatever the locale is.
  TextStyle style{.utf8 = terminal.utf8 || (!terminal.out && !terminal.err)};
  SetTextStyle(style);
  if (const std::string why = WhyNoText(args); !why.empty()) {
    err << "finetune: " << why << ".\n";
    return kUsage;
  }
  Session session{.out = out, .err = err, .terminal = terminal};
  CLI::App app("Segmind fine-tuning through the gateway.", "finetune");
  app.formatter(std::make_shared<HelpFormatter>());
  app.fallthrough();
  app.require_subcommand(1);
  app.set_version_flag("--version", absl::StrCat("finetune ", FINETUNE_VERSION),
                       "Show the version");
  app.footer(absl::StrCat(kExitCodesHelp,
                          "\n\nExamples:\n"
                          "  finetune create --help\n"
                          "  finetune list --filter 'state = TRAINING'\n"
                          "  finetune watch -o json --server gateway:50051\n"));
  AddGlobalOptions(app, session);
  AddCommands(app, session);
  // Called once the flags are known, before the command runs.
  app.parse_complete_callback([&app, &session, &style] {
    session.format = *OutputFormat::Parse(session.output);
    if (session.format.kind() == OutputFormat::Kind::kCsv && !app.got_subcommand("spend"))
      throw CLI::ValidationError("--output", "csv is an output of `finetune spend` alone");
    if (session.utc) style.zone = absl::UTCTimeZone();
    SetTextStyle(style);
  });
  const int code = Parse(app, WithoutHelpCommand(args), session);
  out.flush();
  if (!out && code == kSuccess) {
    err << "finetune: the output could not be written.\n";
    return kLocalFile;
  }
  return code;
}

}  // namespace finetune::cli
