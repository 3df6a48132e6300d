// The load generator: see --help. Prints one JSON object a run; exits 1 if an answer was wrong.
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <functional>

#include "tests/bench/calls.h"
#include "tests/bench/fan_out.h"
#include "tests/bench/peers.h"
#include "tests/bench/proxied.h"
#include "tests/bench/shared_streams.h"
#include "tests/bench/transfer.h"
#include "tests/bench/webhook.h"

namespace finetune::bench {
namespace {

// Each adds a command; what is chosen runs with `options`, which outlive the parser.
using Runs = std::function<bool()>;

void AddCalls(CLI::App& app, CallsOptions& options, Runs& chosen) {
  auto* command = app.add_subcommand("calls", "Many unary calls: closed loop, or open at a rate");
  command->add_option("--target", options.target)->required();
  command->add_option("--pid", options.pid, "The server's, for its CPU");
  command->add_option("--call", options.call)
      ->check(CLI::IsMember({"get", "list", "status", "http"}));
  command->add_option("--job", options.job);
  command->add_option("--page-size", options.page_size);
  command->add_option("--path", options.path, "For http");
  command->add_option("--header", options.headers, "For http, such as \"x-api-key: k\"");
  command->add_option("--max-staleness-ms", options.max_staleness_ms, "For get");
  command->add_option("--token-file", options.connect.token_file, "Bearer token; not for http");
  command->add_option("--tls-ca", options.connect.tls_ca, "Not for http");
  command->add_option("--tls-cert", options.connect.tls_cert);
  command->add_option("--tls-key", options.connect.tls_key);
  command->add_option("--connections", options.connections);
  command->add_option("--outstanding", options.outstanding);
  command->add_option("--rate", options.rate, "Calls a second, open loop");
  command->add_option("--most-outstanding", options.most_outstanding, "Of an open loop");
  command->add_option("--seconds", options.seconds);
  command->add_option("--expect-items", options.expect_items);
  command->add_flag("--varying", options.varying, "Answers are not all the same");
  command->add_flag("--refusals", options.refusals, "RESOURCE_EXHAUSTED is counted, and no error");
  command->callback([&] { chosen = [&] { return RunCalls(options); }; });
}

void AddProxied(CLI::App& app, ProxiedOptions& options, Runs& chosen) {
  auto* command = app.add_subcommand("proxied", "One call after another that goes on to Segmind");
  command->add_option("--target", options.target, "HOST:PORT, or a URL")->required();
  command->add_option("--call", options.call)
      ->check(CLI::IsMember({"status", "create", "upload-url"}));
  command->add_option("--job", options.job);
  command->add_option("--header", options.headers);
  command->add_option("--calls", options.calls);
  command->add_option("--warm-up", options.warm_up);
  command->callback([&] { chosen = [&] { return RunProxied(options); }; });
}

void AddFanOut(CLI::App& app, FanOutOptions& options, Runs& chosen) {
  const auto add = [&](const char* name, const char* what, bool (*run)(const FanOutOptions&)) {
    auto* command = app.add_subcommand(name, what);
    command->add_option("--target", options.target)->required();
    command->add_option("--pid", options.pid);
    command->add_option("--streams", options.streams);
    command->add_option("--connections", options.connections);
    command->add_flag("--frames", options.frames, "Read frames rather than by gRPC's client");
    command->add_option("--changes", options.changes);
    command->add_option("--job", options.job);
    command->add_option("--rounds", options.rounds);
    command->add_option("--group", options.group);
    command->add_option("--filter", options.filter);
    command->add_option("--names-file", options.names_file);
    command->add_option("--concerned", options.concerned);
    command->callback([&options, &chosen, run] { chosen = [&, run] { return run(options); }; });
  };
  add("fan-out", "One change to many watch streams", RunFanOut);
  add("hold", "Many watch streams, until standard input ends", RunHold);
}

void AddPeers(CLI::App& app, PeerOptions& options, Runs& chosen) {
  const auto add = [&](const char* name, const char* what, bool (*run)(const PeerOptions&)) {
    auto* command = app.add_subcommand(name, what);
    command->add_option("--target", options.target)->required();
    command->add_option("--pid", options.pid);
    command->add_option("--subscriptions", options.subscriptions);
    command->add_option("--connections", options.connections);
    command->add_option("--per-stream", options.per_stream);
    command->add_flag("--frames", options.frames, "Read frames rather than by gRPC's client");
    command->add_option("--changes", options.changes);
    command->add_option("--value-bytes", options.value_bytes);
    command->add_option("--key", options.key);
    command->callback([&options, &chosen, run] { chosen = [&, run] { return run(options); }; });
  };
  add("etcd", "One put to many of etcd's watches", RunEtcd);
  add("nats", "One publication to many of NATS's subscriptions", RunNats);
}

void AddSharedStreams(CLI::App& app, SharedStreamsOptions& options, Runs& chosen) {
  auto* command = app.add_subcommand("shared-streams",
                                     "One change to many subscriptions of the client library");
  command->add_option("--target", options.target)->required();
  command->add_option("--pid", options.pid);
  command->add_option("--clients", options.clients);
  command->add_option("--subscriptions", options.subscriptions, "Of each client");
  command->add_option("--changes", options.changes);
  command->add_option("--job", options.job);
  command->callback([&] { chosen = [&] { return RunSharedStreams(options); }; });
}

void AddTransfers(CLI::App& app, TransferOptions& options, Runs& chosen) {
  const auto add = [&](const char* name, const char* what, bool (*run)(const TransferOptions&)) {
    auto* command = app.add_subcommand(name, what);
    command->add_option("--target", options.target)->required();
    command->add_option("--job", options.job);
    command->add_option("--size-bytes", options.size_bytes);
    command->add_flag("--skip-sha256", options.skip_sha256);
    command->add_option("--at-once", options.at_once);
    command->callback([&options, &chosen, run] { chosen = [&, run] { return run(options); }; });
  };
  add("download", "Read a job's weights", RunDownload);
  add("upload", "Send a dataset", RunUpload);
}

void AddWebhook(CLI::App& app, WebhookOptions& options, Runs& chosen) {
  auto* command = app.add_subcommand("webhook", "One webhook to many watch streams");
  command->add_option("--target", options.target)->required();
  command->add_option("--webhook-url", options.webhook_url)->required();
  command->add_option("--emulator-url", options.emulator_url)->required();
  command->add_option("--api-key", options.api_key)->required();
  command->add_option("--upstream-id", options.upstream_id)->required();
  command->add_option("--pid", options.pid);
  command->add_option("--streams", options.streams);
  command->add_option("--connections", options.connections);
  command->add_option("--changes", options.changes);
  command->callback([&] { chosen = [&] { return RunWebhook(options); }; });
}

}  // namespace
}  // namespace finetune::bench

int main(int argc, char** argv) {
  using namespace finetune::bench;
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);

  CLI::App app("Load generator for the gateway and what it is compared with");
  app.require_subcommand(1);
  CallsOptions calls;
  ProxiedOptions proxied;
  FanOutOptions fan_out;
  PeerOptions peers;
  SharedStreamsOptions shared_streams;
  TransferOptions transfer;
  WebhookOptions webhook;
  std::function<bool()> chosen;
  AddCalls(app, calls, chosen);
  AddProxied(app, proxied, chosen);
  AddFanOut(app, fan_out, chosen);
  AddPeers(app, peers, chosen);
  AddSharedStreams(app, shared_streams, chosen);
  AddTransfers(app, transfer, chosen);
  AddWebhook(app, webhook, chosen);
  CLI11_PARSE(app, argc, argv);
  return chosen() ? 0 : 1;
}
