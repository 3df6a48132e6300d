// The load generator: bench-load calls|proxied|fan-out. Prints one JSON object a run; exits 1 if an
// answer was wrong.
#include <sys/resource.h>

#include <CLI/CLI.hpp>

#include "tests/bench/calls.h"
#include "tests/bench/fan_out.h"
#include "tests/bench/proxied.h"

int main(int argc, char** argv) {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);

  CLI::App app("Load generator for the gateway and what it is compared with");
  app.require_subcommand(1);
  finetune::bench::CallsOptions calls;
  auto* calls_command =
      app.add_subcommand("calls", "Many unary calls: closed loop, or open loop at a rate");
  calls_command->add_option("--target", calls.target)->required();
  calls_command->add_option("--pid", calls.pid, "The server's, for its CPU");
  calls_command->add_option("--call", calls.call)
      ->check(CLI::IsMember({"get", "list", "status", "http"}));
  calls_command->add_option("--job", calls.job);
  calls_command->add_option("--page-size", calls.page_size);
  calls_command->add_option("--path", calls.path, "For http");
  calls_command->add_option("--header", calls.headers, "For http, such as \"x-api-key: k\"");
  calls_command->add_option("--connections", calls.connections);
  calls_command->add_option("--outstanding", calls.outstanding);
  calls_command->add_option("--rate", calls.rate, "Calls a second, open loop");
  calls_command->add_option("--seconds", calls.seconds);
  calls_command->add_option("--expect-items", calls.expect_items);
  calls_command->add_flag("--varying", calls.varying, "Answers are not all the same");
  finetune::bench::ProxiedOptions proxied;
  auto* proxied_command =
      app.add_subcommand("proxied", "One call after another that goes on to Segmind");
  proxied_command->add_option("--target", proxied.target, "HOST:PORT, or a URL")->required();
  proxied_command->add_option("--call", proxied.call)
      ->check(CLI::IsMember({"status", "create", "upload-url"}));
  proxied_command->add_option("--job", proxied.job);
  proxied_command->add_option("--header", proxied.headers);
  proxied_command->add_option("--calls", proxied.calls);
  proxied_command->add_option("--warm-up", proxied.warm_up);
  finetune::bench::FanOutOptions fan_out;
  auto* fan_out_command = app.add_subcommand("fan-out", "One change to many watch streams");
  fan_out_command->add_option("--target", fan_out.target)->required();
  fan_out_command->add_option("--pid", fan_out.pid);
  fan_out_command->add_option("--streams", fan_out.streams);
  fan_out_command->add_option("--connections", fan_out.connections);
  fan_out_command->add_option("--changes", fan_out.changes);
  fan_out_command->add_option("--job", fan_out.job);
  CLI11_PARSE(app, argc, argv);
  if (calls_command->parsed()) return finetune::bench::RunCalls(calls) ? 0 : 1;
  if (proxied_command->parsed()) return finetune::bench::RunProxied(proxied) ? 0 : 1;
  return finetune::bench::RunFanOut(fan_out) ? 0 : 1;
}
