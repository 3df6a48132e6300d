#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "tests/emulator/mutex.h"

namespace finetune::emulator {

// What is wrong with the zip in the file behind `fd`, in Segmind's words, or nothing. Keeps `fd`.
std::optional<std::string> CheckZip(int fd);

// Fetches datasets as Segmind's training does (HEAD, then GET, each with a Content-Length) and
// opens them. Thread-safe; the checks run on its own threads. Owned by main.
class DatasetCheck {
 public:
  // Called with what is wrong, in Segmind's words, or nothing; not after Stop().
  using Done = std::function<void(std::optional<std::string> error)>;

  // Downloads go to nameless files in `folder`.
  DatasetCheck(std::string folder, int threads);
  ~DatasetCheck() { Stop(); }

  // `headers` go along with both calls.
  void Check(std::string url, std::vector<std::string> headers, Done done);
  void Stop();

 private:
  struct Item {
    std::string url;
    std::vector<std::string> headers;
    Done done;
  };

  void Run();
  std::optional<std::string> CheckOne(const Item& item) const;

  const std::string folder_;
  std::atomic<bool> stopping_{false};
  Mutex mu_;
  std::condition_variable_any changed_;
  // Guarded by mu_.
  std::deque<Item> items_ ABSL_GUARDED_BY(mu_);
  // The owner's thread only.
  std::vector<std::thread> threads_;
};

}  // namespace finetune::emulator
