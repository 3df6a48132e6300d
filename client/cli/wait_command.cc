// wait: until a job has reached a state.
#include "client/cli/commands.h"
#include "client/cli/follow.h"
#include "client/cli/job_names.h"
#include "client/cli/values.h"

namespace finetune::cli {
namespace {

struct WaitFlags {
  std::string name;
  std::string until = "AVAILABLE";
  std::string timeout = "1h";
};

int Wait(Session& session, FineTuneClient& client, const WaitFlags& flags) {
  const auto name = ResolveJob(client, flags.name);
  if (!name.ok()) return session.Fail(name.status());
  return AwaitJob(session, client, *name, *ParseState(flags.until),
                  {*ParseTimespan(flags.timeout), "--timeout"});
}

}  // namespace

void AddWait(CLI::App& app, Session& session) {
  auto flags = std::make_shared<WaitFlags>();
  CLI::App* command = app.add_subcommand("wait", "Wait until a job has reached a state");
  command->add_option("name", flags->name, kJobHelp)->required();
  command->add_option("--until", flags->until, "The state, or a later one; AVAILABLE if not given")
      ->check(IsState())
      ->type_name("STATE");
  command->add_option("--timeout", flags->timeout, "How long at most; 1h if not given")
      ->check(IsTimespan());
  command->footer(
      "Ends with 0 when the state is reached, 1 when the job ended otherwise, 6 when the time was "
      "up.\n"
      "Examples:\n"
      "  finetune wait my-dog\n"
      "  finetune wait 0f8b6c1e --until TRAINED --timeout 2h");
  command->callback([flags, &session] {
    session.exit_code =
        WithClient(session, [&](FineTuneClient& client) { return Wait(session, client, *flags); });
  });
}

}  // namespace finetune::cli
