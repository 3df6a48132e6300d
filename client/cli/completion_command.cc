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

// The base models that Segmind documents; the set is open.
constexpr char kModels[] = "FAST_FLUX FLUX FLUX_PRO QWEN KONTEXT";
constexpr char kOutputs[] = "table wide json yaml name csv jsonpath= template=";

constexpr char kBash[] = R"sh(_finetune() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command= i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "${COMP_WORDS[i]}" in
      @COMMANDS_PATTERN@) command=${COMP_WORDS[i]}; break ;;
    esac
  done
  case "$before" in
    --until|--wait) COMPREPLY=($(compgen -W "@STATES@" -- "${word^^}")); return ;;
    --output|-o) COMPREPLY=($(compgen -W "@OUTPUTS@" -- "$word")); return ;;
    --base-model) COMPREPLY=($(compgen -W "@MODELS@" -- "${word^^}")); return ;;
    --context|use-context|delete-context) COMPREPLY=($(compgen -W "$(finetune config get-contexts -o name 2>/dev/null)" -- "$word")); return ;;
    --file|--resume-token|--tls-ca|--tls-cert|--tls-key|--token-file) COMPREPLY=($(compgen -f -- "$word")); return ;;
  esac
  case "$command" in
    "") COMPREPLY=($(compgen -W "@COMMANDS@ @GLOBAL@" -- "$word")) ;;
@CASES@  esac
}
complete -o default -F _finetune finetune
)sh";

// The ids of jobs; silent and quick if there is no gateway.
constexpr char kListIds[] =
    "finetune list --limit 200 --timeout 2s -o name 2>/dev/null | sed s,fineTunes/,,";

// The words that may follow a command that takes one of a few: a subcommand or a topic.
std::string WordsBehind(const CLI::App& app, const CLI::App& command) {
  if (command.get_name() == "completion") return "bash zsh fish";
  std::vector<std::string> names;
  const CLI::App& of = command.get_name() == "help" ? app : command;
  for (const CLI::App* sub : of.get_subcommands(nullptr)) names.push_back(sub->get_name());
  return Words(std::move(names));
}

bool TakesJobs(const CLI::App& command) {
  return command.get_option_no_throw("name") != nullptr ||
         command.get_option_no_throw("names") != nullptr;
}

std::string BashCases(const CLI::App& app, const std::string& global) {
  std::string cases;
  for (const CLI::App* command : app.get_subcommands(nullptr)) {
    absl::StrAppend(&cases, "    ", command->get_name(), ")\n");
    if (TakesJobs(*command)) {
      absl::StrAppend(&cases, "      [[ $word == -* ]] || { COMPREPLY=($(compgen -W \"$(", kListIds,
                      ")\" -- \"$word\")); return; }\n");
    }
    const std::string words = WordsBehind(app, *command);
    const std::string options = absl::StrCat(Words(OptionNames(*command)), " ", global);
    absl::StrAppend(&cases, "      ", words.empty() ? "[[ $word == -* ]] && " : "",
                    "COMPREPLY=($(compgen -W \"", words, words.empty() ? "" : " ", options,
                    "\" -- \"$word\")) ;;\n");
  }
  return cases;
}

std::string FishQuoted(const std::string& text) {
  return absl::StrCat("'", absl::StrReplaceAll(text, {{"\\", "\\\\"}, {"'", "\\'"}}), "'");
}

// `complete` lines for the options of one command, or of all.
void AppendFishOptions(const CLI::App& app, const std::string& condition, std::string& script) {
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) {
      absl::StrAppend(&script, "complete -c finetune", condition, " -l ", name);
      if (!option->get_snames().empty())
        absl::StrAppend(&script, " -s ", option->get_snames().front());
      if (name == "until" || name == "wait") {
        absl::StrAppend(&script, " -x -a '", States(), "'");
      } else if (name == "output") {
        absl::StrAppend(&script, " -x -a '", kOutputs, "'");
      } else if (name == "base-model") {
        absl::StrAppend(&script, " -x -a '", kModels, "'");
      } else if (option->get_type_name() == "FILE" || name == "file" || name == "dataset") {
        absl::StrAppend(&script, " -r -F");
      } else if (option->get_items_expected_max() > 0) {
        absl::StrAppend(&script, " -x");
      }
      absl::StrAppend(&script, " -d ", FishQuoted(option->get_description()), "\n");
    }
  }
}

std::string FishScript(const CLI::App& app) {
  std::string script = "complete -c finetune -f\n";
  for (const CLI::App* command : app.get_subcommands(nullptr)) {
    const std::string& name = command->get_name();
    absl::StrAppend(&script, "complete -c finetune -n __fish_use_subcommand -a ", name, " -d ",
                    FishQuoted(command->get_description()), "\n");
    const std::string condition = absl::StrCat(" -n '__fish_seen_subcommand_from ", name, "'");
    AppendFishOptions(*command, condition, script);
    if (TakesJobs(*command))
      absl::StrAppend(&script, "complete -c finetune", condition, " -a '(", kListIds, ")'\n");
    if (name == "upload" || name == "download")
      absl::StrAppend(&script, "complete -c finetune", condition, " -F\n");
    if (const std::string words = WordsBehind(app, *command); !words.empty())
      absl::StrAppend(&script, "complete -c finetune", condition, " -a '", words, "'\n");
  }
  AppendFishOptions(app, "", script);
  return script;
}

int PrintCompletion(Session& session, const CLI::App& app, const std::string& shell) {
  if (shell == "fish") {
    session.out << FishScript(app);
    return kSuccess;
  }
  std::vector<std::string> commands;
  for (const CLI::App* command : app.get_subcommands(nullptr))
    commands.push_back(command->get_name());
  const std::string global = Words(OptionNames(app));
  const std::string script =
      absl::StrReplaceAll(kBash, {{"@COMMANDS_PATTERN@", absl::StrJoin(commands, "|")},
                                  {"@COMMANDS@", absl::StrJoin(commands, " ")},
                                  {"@STATES@", States()},
                                  {"@OUTPUTS@", kOutputs},
                                  {"@MODELS@", kModels},
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
  command->add_option("shell", *shell, "bash, zsh or fish")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  command->footer(
      "Examples:\n"
      "  source <(finetune completion bash)\n"
      "  finetune completion zsh > ~/.zfunc/_finetune\n"
      "  finetune completion fish > ~/.config/fish/completions/finetune.fish");
  command->callback(
      [shell, &app, &session] { session.exit_code = PrintCompletion(session, app, *shell); });
}

}  // namespace finetune::cli
