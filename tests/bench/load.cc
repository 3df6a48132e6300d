// The load generator: bench-load calls|fan-out|download|upload. Prints one JSON object a run; exits
// 1 if an answer was wrong.
#include <malloc.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>

#include "tests/bench/calls.h"
#include "tests/bench/fan_out.h"
#include "tests/bench/transfer.h"

int main(int argc, char** argv) {
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  // What gRPC receives is kept for what comes next, not given back and faulted in again.
  mallopt(M_MMAP_THRESHOLD, 64 << 20);
  mallopt(M_TRIM_THRESHOLD, 64 << 20);

  CLI::App app("Load generator for the gateway and what it is compared with");
  app.require_subcommand(1);
  finetune::bench::CallsOptions calls;
  auto* calls_command =
      app.add_subcommand("calls", "Many unary calls: closed loop, or open loop at a rate");
  calls_command->add_option("--target", calls.target)->required();
  calls_command->add_option("--pid", calls.pid, "The server's, for its CPU");
  calls_command->add_option("--call", calls.call)->check(CLI::IsMember({"get", "list", "status"}));
  calls_command->add_option("--job", calls.job);
  calls_command->add_option("--page-size", calls.page_size);
  calls_command->add_option("--connections", calls.connections);
  calls_command->add_option("--outstanding", calls.outstanding);
  calls_command->add_option("--rate", calls.rate);
  calls_command->add_option("--seconds", calls.seconds);
  calls_command->add_option("--expect-items", calls.expect_items);
  finetune::bench::FanOutOptions fan_out;
  auto* fan_out_command = app.add_subcommand("fan-out", "One change to many watch streams");
  fan_out_command->add_option("--target", fan_out.target)->required();
  fan_out_command->add_option("--pid", fan_out.pid);
  fan_out_command->add_option("--streams", fan_out.streams);
  fan_out_command->add_option("--connections", fan_out.connections);
  fan_out_command->add_option("--changes", fan_out.changes);
  fan_out_command->add_option("--job", fan_out.job);
  finetune::bench::TransferOptions transfer;
  auto* download = app.add_subcommand("download", "Read a job's weights");
  auto* upload = app.add_subcommand("upload", "Send a dataset");
  for (auto* command : {download, upload}) {
    command->add_option("--target", transfer.target)->required();
    command->add_option("--size-bytes", transfer.size_bytes);
    command->add_option("--at-once", transfer.at_once);
  }
  download->add_option("--job", transfer.job)->required();
  upload->add_option("--chunk-bytes", transfer.chunk_bytes);
  CLI11_PARSE(app, argc, argv);
  const bool good = calls_command->parsed()     ? finetune::bench::RunCalls(calls)
                    : fan_out_command->parsed() ? finetune::bench::RunFanOut(fan_out)
                    : download->parsed()        ? finetune::bench::RunDownload(transfer)
                                                : finetune::bench::RunUpload(transfer);
  return good ? 0 : 1;
}
