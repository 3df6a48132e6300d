// config: gateways by name.
#include <filesystem>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "client/cli/commands.h"
#include "client/cli/config_file.h"
#include "client/cli/exit_code.h"

namespace finetune::cli {
namespace {

absl::Status NoContext(const std::string& name) {
  return absl::NotFoundError(absl::StrCat("there is no context `", name, "`"));
}

// The config is used from every directory, so it names files in full.
void MakeAbsolute(std::string& path) {
  std::error_code ignored;
  if (!path.empty()) path = std::filesystem::absolute(path, ignored).lexically_normal().string();
}

int SetContext(Session& session, const std::string& name) {
  auto config = ReadConfig(ConfigPath());
  if (!config.ok()) return session.Fail(config.status());
  Context context = session.gateway;
  if (context.server.empty()) {
    const auto before = config->contexts.find(name);
    if (before == config->contexts.end())
      return session.Fail(absl::InvalidArgumentError("a new context needs its --server"));
    context.server = before->second.server;
  }
  for (std::string Context::*path :
       {&Context::tls_ca, &Context::tls_cert, &Context::tls_key, &Context::token_file})
    MakeAbsolute(context.*path);
  config->contexts[name] = context;
  if (config->current.empty()) config->current = name;
  if (absl::Status status = WriteConfig(ConfigPath(), *config); !status.ok())
    return session.Fail(status);
  session.err << "The context " << Printable(name) << " is in " << Printable(ConfigPath())
              << (config->current == name ? ", and is the current one.\n" : ".\n");
  return kSuccess;
}

// Changes the config, and writes it.
template <typename Change>
int Rewrite(Session& session, const Change& change) {
  auto config = ReadConfig(ConfigPath());
  if (!config.ok()) return session.Fail(config.status());
  absl::Status status = change(*config);
  if (status.ok()) status = WriteConfig(ConfigPath(), *config);
  return status.ok() ? static_cast<int>(kSuccess) : session.Fail(status);
}

int UseContext(Session& session, const std::string& name) {
  return Rewrite(session, [&](Config& config) {
    if (config.contexts.count(name) == 0) return NoContext(name);
    config.current = name;
    return absl::OkStatus();
  });
}

int DeleteContext(Session& session, const std::string& name) {
  return Rewrite(session, [&](Config& config) {
    if (config.contexts.erase(name) == 0) return NoContext(name);
    if (config.current == name) config.current.clear();
    return absl::OkStatus();
  });
}

int GetContexts(Session& session) {
  const auto config = ReadConfig(ConfigPath());
  if (!config.ok()) return session.Fail(config.status());
  if (session.format.kind() == OutputFormat::Kind::kName) {
    for (const auto& [name, context] : config->contexts) session.out << Printable(name) << "\n";
    return kSuccess;
  }
  Table table = session.NewTable({{.heading = "CURRENT"},
                                  {.heading = "NAME"},
                                  {.heading = "SERVER", .least = 16},
                                  {.heading = "TLS CA", .rank = 2, .least = 10},
                                  {.heading = "CREDENTIALS", .rank = 1, .least = 12}});
  for (const auto& [name, context] : config->contexts) {
    table.Add({{name == config->current ? "*" : ""},
               {Printable(name)},
               {Printable(context.server)},
               {Printable(context.tls_ca.empty() && context.tls ? "the system's" : context.tls_ca)},
               {Printable(context.token_file.empty() ? context.tls_cert : context.token_file)}});
  }
  if (config->contexts.empty()) {
    session.err << "There are no contexts; make one with `finetune config set-context NAME "
                   "--server HOST:PORT`.\n";
    return kSuccess;
  }
  table.Print(session.out, session.colours());
  return kSuccess;
}

int CurrentContext(Session& session) {
  const auto config = ReadConfig(ConfigPath());
  if (!config.ok()) return session.Fail(config.status());
  if (config->current.empty())
    return session.Fail(absl::NotFoundError("there is no current context"));
  session.out << Printable(config->current) << "\n";
  return kSuccess;
}

void AddNamed(CLI::App& config, Session& session, const char* command, const char* help,
              int (*run)(Session&, const std::string&)) {
  auto name = std::make_shared<std::string>();
  CLI::App* sub = config.add_subcommand(command, help);
  sub->add_option("name", *name, "The context")->required();
  sub->callback([name, run, &session] { session.exit_code = run(session, *name); });
}

}  // namespace

void AddConfig(CLI::App& app, Session& session) {
  CLI::App* config = app.add_subcommand("config", "Keep gateways by name");
  config->require_subcommand(1);
  AddNamed(*config, session, "set-context",
           "Keep the --server and the files given beside it under a name", SetContext);
  AddNamed(*config, session, "use-context", "Make a context the current one", UseContext);
  AddNamed(*config, session, "delete-context", "Forget a context", DeleteContext);
  config->add_subcommand("get-contexts", "List the contexts")->callback([&session] {
    session.exit_code = GetContexts(session);
  });
  config->add_subcommand("current-context", "Print the current context's name")
      ->callback([&session] { session.exit_code = CurrentContext(session); });
  config->footer(
      "Kept in $FINETUNE_CONFIG, else in finetune/config.json below $XDG_CONFIG_HOME or "
      "~/.config.\n"
      "A flag or a variable, such as FINETUNE_SERVER, wins over the context.\n"
      "Examples:\n"
      "  finetune config set-context prod --server gateway.prod:50051 --tls-ca ca.crt --token-file "
      "token\n"
      "  finetune config use-context prod\n"
      "  finetune list --context staging");
}

}  // namespace finetune::cli
