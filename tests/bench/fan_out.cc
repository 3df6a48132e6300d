#include "tests/bench/fan_out.h"

#include <algorithm>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "segmind/finetune/v1/fine_tune_service.pb.h"
#include "tests/bench/changes.h"
#include "tests/bench/labeller.h"
#include "tests/bench/process.h"
#include "tests/bench/raw_streams.h"

namespace finetune::bench {
namespace {

namespace pb = ::segmind::finetune::v1;

std::vector<std::string> Lines(const std::string& path) {
  std::vector<std::string> lines;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

using AllStreams = std::vector<std::unique_ptr<RawStreams>>;

std::vector<std::string> TargetsOf(const FanOutOptions& options) {
  return absl::StrSplit(options.target, ',');
}

AllStreams OpenAll(const FanOutOptions& options, Receipts& receipts) {
  AllStreams all;
  const std::vector<std::string> targets = TargetsOf(options);
  for (const std::string& target : targets)
    all.push_back((options.frames ? MakeFrameStreams : MakeGrpcStreams)(
        target, std::max<int>(1, options.connections / targets.size()), receipts));
  const std::vector<std::string> names = Lines(options.names_file);
  StreamPlan plan;
  plan.method = "/segmind.finetune.v1.FineTuneService/WatchFineTunes";
  plan.read = ReadWatchResponse;
  for (int i = 0; i < options.streams; ++i) {
    const int group = i / options.group;
    pb::WatchFineTunesRequest request;
    request.set_skip_snapshot(true);
    // Quiet for long enough that heartbeats are not measured.
    request.mutable_heartbeat_interval()->set_seconds(60);
    request.set_filter(absl::StrReplaceAll(options.filter, {{"{}", absl::StrCat(group)}}));
    if (!names.empty()) request.add_names(names[group % names.size()]);
    plan.requests = {request.SerializeAsString()};
    all[i % all.size()]->Open(plan);
  }
  return all;
}

}  // namespace

bool RunFanOut(const FanOutOptions& options) {
  const ChangesOptions changes{options.pid, options.streams,
                               options.concerned > 0 ? options.concerned : options.streams,
                               options.changes};
  Receipts receipts(changes.deliveries);
  Labeller labeller(TargetsOf(options).front(), options.job);
  const MakeChange make = [&](int) { return labeller.Change(); };
  const std::vector<double> alone = MakeAlone(make, options.changes);
  const int64_t memory_before = ResidentBytes(options.pid);
  const auto streams = OpenAll(options, receipts);
  if (!receipts.AwaitReady(options.streams)) {
    std::cerr << "not all streams were synced\n";
    return false;
  }
  const auto memory = static_cast<double>(ResidentBytes(options.pid) - memory_before);
  bool complete = true;
  for (int round = 0; round < options.rounds && complete; ++round) {
    if (std::string line; round > 0 && !std::getline(std::cin, line)) break;
    ChangesResult result = MeasureChanges(changes, receipts, make);
    result.made_alone = alone;
    result.bytes_per_receiver = memory / options.streams;
    receipts.Ignore();
    std::cout << ToJson(changes, receipts, result) << std::endl;
    complete = result.complete;
  }
  return complete;
}

bool RunHold(const FanOutOptions& options) {
  Receipts receipts(0);
  const auto streams = OpenAll(options, receipts);
  if (!receipts.AwaitReady(options.streams)) return false;
  std::cout << R"({"ready": )" << options.streams << "}" << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    uint64_t lowest = UINT64_MAX;
    for (const auto& each : streams) lowest = std::min(lowest, each->LowestRevision());
    std::cout << R"({"lowest_revision": )" << lowest << R"(, "ended": )" << receipts.ended() << "}"
              << std::endl;
  }
  return true;
}

}  // namespace finetune::bench
