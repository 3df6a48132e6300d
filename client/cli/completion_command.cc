// completion: scripts for the shells, made from the commands and options that the program has.
#include <algorithm>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "client/cli/commands.h"
#include "client/cli/exit_code.h"
#include "client/cli/values.h"

namespace finetune::cli {
namespace {

std::vector<std::string> OptionNames(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

std::string Words(std::vector<std::string> words) {
  std::sort(words.begin(), words.end());
  words.erase(std::unique(words.begin(), words.end()), words.end());
  return absl::StrJoin(words, " ");
}

std::string States() {
  std::vector<std::string> names;
  for (int i = 1; i < pb::FineTune::State_ARRAYSIZE; ++i)
    names.push_back(StateName(pb::FineTune::State(i)));
  return absl::StrJoin(names, " ");
}

constexpr char kBash[] = R"(_finetune() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command= i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "${COMP_WORDS[i]}" in
      @COMMANDS_PATTERN@) command=${COMP_WORDS[i]}; break ;;
    esac
  done
  case "$before" in
    --until|--for|--wait) COMPREPLY=($(compgen -W "@STATES@" -- "${word^^}")); return ;;
    --output) COMPREPLY=($(compgen -W "table json" -- "$word")); return ;;
    --file|--resume-token|--tls-ca|--tls-cert|--tls-key|--token-file) COMPREPLY=($(compgen -f -- "$word")); return ;;
  esac
  case "$command" in
    "") COMPREPLY=($(compgen -W "@COMMANDS@ @GLOBAL@" -- "$word")) ;;
@CASES@  esac
}
complete -o default -F _finetune finetune
)";

std::string BashCases(const CLI::App& app, const std::string& global) {
  std::string cases;
  for (const CLI::App* command : app.get_subcommands(nullptr)) {
    std::string line = Words(OptionNames(*command));
    if (command->get_name() == "completion") absl::StrAppend(&line, " bash zsh");
    absl::StrAppend(&cases, "    ", command->get_name(), ")\n");
    const bool takes_names =
        command->get_option_no_throw("name") != nullptr || command->get_name() == "watch";
    if (takes_names) {
      // Asked of the gateway; silent and quick if there is none.
      absl::StrAppend(
          &cases,
          "      [[ $word == -* ]] || { COMPREPLY=($(compgen -W \"$(finetune list --limit 200 ",
          "--timeout 2s 2>/dev/null | awk 'NR > 1 {print $1}')\" -- \"$word\")); return; }\n");
    }
    absl::StrAppend(&cases, "      [[ $word == -* ]] && COMPREPLY=($(compgen -W \"", line, " ",
                    global, "\" -- \"$word\")) ;;\n");
  }
  return absl::StrReplaceAll(cases,
                             {{"[[ $word == -* ]] && COMPREPLY=($(compgen -W \"--help bash zsh",
                               "COMPREPLY=($(compgen -W \"--help bash zsh"}});
}

int PrintCompletion(Session& session, const CLI::App& app, const std::string& shell) {
  std::vector<std::string> commands;
  for (const CLI::App* command : app.get_subcommands(nullptr))
    commands.push_back(command->get_name());
  const std::string global = Words(OptionNames(app));
  const std::string script =
      absl::StrReplaceAll(kBash, {{"@COMMANDS_PATTERN@", absl::StrJoin(commands, "|")},
                                  {"@COMMANDS@", absl::StrJoin(commands, " ")},
                                  {"@STATES@", States()},
                                  {"@GLOBAL@", global},
                                  {"@CASES@", BashCases(app, global)}});
  if (shell == "zsh") {
    session.out << "#compdef finetune\n"
                   "autoload -Uz compinit bashcompinit\n"
                   "(( $+functions[compdef] )) || compinit\n"
                   "bashcompinit\n"
                << absl::StrReplaceAll(script, {{"${word^^}", "${(U)word}"}});
  } else {
    session.out << script;
  }
  return kSuccess;
}

}  // namespace

void AddCompletion(CLI::App& app, Session& session) {
  auto shell = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("completion", "Print the completion script for a shell");
  command->add_option("shell", *shell, "bash or zsh")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh"}));
  command->footer(
      "Examples:\n"
      "  source <(finetune completion bash)\n"
      "  finetune completion zsh > ~/.zfunc/_finetune");
  command->callback(
      [shell, &app, &session] { session.exit_code = PrintCompletion(session, app, *shell); });
}

}  // namespace finetune::cli
