#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "server/base/mutex.h"
#include "server/jobs/record/catalog.h"
#include "server/jobs/record/recorder.h"
#include "server/jobs/watching/watch_hub.h"
#include "tests/base/manual_clock.h"
#include "tests/jobs/watching/watch_memory_store.h"

namespace finetune {

inline pb::WatchFineTunesResponse Decode(const grpc::ByteBuffer& bytes) {
  grpc::Slice slice;
  pb::WatchFineTunesResponse response;
  if (!bytes.DumpToSingleSlice(&slice).ok() ||
      !response.ParseFromArray(slice.begin(), static_cast<int>(slice.size()))) {
    ADD_FAILURE() << "a message that cannot be read";
  }
  return response;
}

inline std::string IdOfChange(const pb::WatchFineTunesResponse& message) {
  return IdOf(message.change().fine_tune().name()).value_or("?");
}

// The client's side of a watch without gRPC: keeps what is written, and acknowledges a write when
// told to. Checks that the hub keeps the sink's rules. Thread-safe.
class WatchClient : public WatchSink {
 public:
  absl::Status Start(WatchHub& hub, WatchSpec spec) {
    auto watcher = hub.Watch(std::move(spec), this);
    if (!watcher.ok()) return watcher.status();
    MutexLock lock(mu_);
    watcher_ = *std::move(watcher);
    return absl::OkStatus();
  }

  void Write(const grpc::ByteBuffer& message) override {
    MutexLock lock(mu_);
    EXPECT_FALSE(writing_) << "two writes at once";
    EXPECT_FALSE(finished_) << "a write after Finish";
    writing_ = true;
    messages_.push_back(Decode(message));
    changed_.NotifyAll();
  }
  void Finish(absl::Status status) override {
    MutexLock lock(mu_);
    EXPECT_FALSE(writing_) << "Finish while a write is under way";
    EXPECT_FALSE(finished_) << "Finish twice";
    finished_ = std::move(status);
    changed_.NotifyAll();
  }
  void Abort() override {
    MutexLock lock(mu_);
    aborted_ = true;
  }

  // Reads one message, if one is there to be read.
  bool Read(bool ok = true) {
    std::shared_ptr<Watcher> watcher;
    {
      MutexLock lock(mu_);
      if (!writing_ || watcher_ == nullptr) return false;
      writing_ = false;
      watcher = watcher_;
    }
    watcher->OnWriteDone(ok);
    return true;
  }
  void ReadAll() {
    while (Read()) {
    }
  }
  void Cancel() {
    if (const auto watcher = TheWatcher(); watcher != nullptr) watcher->Cancel();
  }
  // The server ends it.
  void End(absl::Status status) { TheWatcher()->End(std::move(status)); }

  // The connection breaks: a write that is under way, or about to be, fails. Returns once the
  // stream has finished.
  void Break() {
    Cancel();
    while (true) {
      {
        MutexLock lock(mu_);
        while (!writing_ && !finished_) changed_.Wait(mu_);
        if (finished_) return;
      }
      Read(/*ok=*/false);
    }
  }

  std::vector<pb::WatchFineTunesResponse> messages() const {
    MutexLock lock(mu_);
    return messages_;
  }
  // Those since the last call.
  std::vector<pb::WatchFineTunesResponse> News() {
    MutexLock lock(mu_);
    std::vector<pb::WatchFineTunesResponse> news(messages_.begin() + static_cast<ptrdiff_t>(seen_),
                                                 messages_.end());
    seen_ = messages_.size();
    return news;
  }
  // The message that is being written, if the client is there to read it.
  std::optional<pb::WatchFineTunesResponse> Peek() const {
    MutexLock lock(mu_);
    if (!writing_ || watcher_ == nullptr) return std::nullopt;
    return messages_.back();
  }
  bool writing() const {
    MutexLock lock(mu_);
    return writing_;
  }
  bool aborted() const {
    MutexLock lock(mu_);
    return aborted_;
  }
  std::optional<absl::Status> finished() const {
    MutexLock lock(mu_);
    return finished_;
  }

 private:
  std::shared_ptr<Watcher> TheWatcher() const {
    MutexLock lock(mu_);
    return watcher_;
  }

  mutable Mutex mu_;
  CondVar changed_;
  std::shared_ptr<Watcher> watcher_ ABSL_GUARDED_BY(mu_);
  std::vector<pb::WatchFineTunesResponse> messages_ ABSL_GUARDED_BY(mu_);
  size_t seen_ ABSL_GUARDED_BY(mu_) = 0;
  bool writing_ ABSL_GUARDED_BY(mu_) = false;
  bool aborted_ ABSL_GUARDED_BY(mu_) = false;
  std::optional<absl::Status> finished_ ABSL_GUARDED_BY(mu_);
};

// `SNAPSHOT a@3`, `SYNCED@3`, `RESET TOO_SLOW`, ...
inline std::string Summary(const pb::WatchFineTunesResponse& message) {
  switch (message.event_case()) {
    case pb::WatchFineTunesResponse::kChange:
      return absl::StrCat(pb::Change::Type_Name(message.change().type()), " ", IdOfChange(message),
                          "@", message.revision());
    case pb::WatchFineTunesResponse::kSynced:
      return absl::StrCat("SYNCED@", message.revision());
    case pb::WatchFineTunesResponse::kHeartbeat:
      return absl::StrCat("HEARTBEAT@", message.revision());
    case pb::WatchFineTunesResponse::kRestart:
      return absl::StrCat("RESET ", pb::Restart::Reason_Name(message.restart().reason()));
    default:
      return "?";
  }
}
inline std::vector<std::string> Summaries(const std::vector<pb::WatchFineTunesResponse>& messages) {
  std::vector<std::string> summaries;
  for (const auto& message : messages) summaries.push_back(Summary(message));
  return summaries;
}

// Recorder, catalog and hub as the gateway puts them together, on a store that outlives them.
struct WatchWorld {
  explicit WatchWorld(WatchMemoryStore& store, ManualClock& clock, WatchHub::Options options = {},
                      Catalog::Options catalog_options = {},
                      std::vector<CommitListener*> first_listeners = {},
                      std::vector<std::shared_ptr<WatchWaiter>> waiters = {})
      : catalog(catalog_options, metrics),
        recorder(store, catalog, clock, metrics),
        hub(options, catalog, clock, metrics, std::move(waiters)) {
    EXPECT_TRUE(recorder.Load().ok());
    for (CommitListener* listener : first_listeners) recorder.AddListener(listener);
    recorder.AddListener(&hub);
  }
  // The hub must not be told of changes while it goes.
  ~WatchWorld() { recorder.Stop(); }

  // Commits one change of one job and returns its revision.
  uint64_t Put(const std::string& id, pb::FineTune::State state, const std::string& creator = "") {
    EXPECT_TRUE(Commit([&](Draft& draft) { draft.Put(RecordOf(id, state, creator)); }).ok());
    return catalog.view()->revision();
  }
  absl::Status Commit(std::function<void(Draft&)> mutation) {
    std::promise<absl::Status> committed;
    recorder.Record(
        [&](Draft& draft) {
          mutation(draft);
          return absl::OkStatus();
        },
        [&](absl::Status status) { committed.set_value(std::move(status)); });
    return committed.get_future().get();
  }
  static record::FineTuneRecord RecordOf(const std::string& id, pb::FineTune::State state,
                                         const std::string& creator) {
    record::FineTuneRecord record;
    record.mutable_fine_tune()->set_name(NameOf(id));
    record.mutable_fine_tune()->set_state(state);
    record.mutable_fine_tune()->set_creator(creator);
    record.mutable_fine_tune()->add_transitions()->set_state(state);
    return record;
  }

  Metrics metrics;
  Catalog catalog;
  Recorder recorder;
  WatchHub hub;
};

}  // namespace finetune
