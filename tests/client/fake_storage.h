#pragma once

#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace finetune {

// A storage that speaks just enough HTTP: one file, with ETag and ranges, whose answers break off
// on demand, and PUTs that are kept. One connection at a time, on a port of its own. Thread-safe.
class FakeStorage {
 public:
  FakeStorage(std::string content, std::string etag);
  ~FakeStorage();

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/file"; }

  // Each answer ends after so many bytes of its body, whatever it announced.
  void BreakAfter(size_t bytes);
  void Answer(int code);

  // The requests, head and body.
  std::vector<std::string> requests();

 private:
  void Serve();
  void Handle(int connection);
  std::string Respond(const std::string& head);

  int listener_ = -1;
  int port_ = 0;
  const std::string content_;
  const std::string etag_;

  // Guarded by mu_.
  std::mutex mu_;
  size_t break_after_ = std::string::npos;
  int code_ = 0;
  std::vector<std::string> requests_;

  std::thread thread_;
};

}  // namespace finetune
