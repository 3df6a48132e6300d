#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace finetune::emulator {

struct FetchRequest {
  std::string method = "GET";
  std::string url;
  std::vector<std::string> headers;  // "Name: value".
  std::string body;                  // Of a POST.
  double timeout_seconds = 60;
  // Takes the body as it comes; false ends the transfer. Null: the body is dropped.
  std::function<bool(std::string_view)> on_bytes;
  const std::atomic<bool>* cancelled = nullptr;  // Ends the transfer soon after it turns true.
};

struct FetchResult {
  int code = 0;         // 0: there was no answer, or not all of it.
  std::string failure;  // Why.
  std::optional<uint64_t> content_length;
};

// Whether Fetch could be asked for it: http or https, with a host.
bool IsHttpUrl(std::string_view url);

// Does one HTTP call on the calling thread, redirects followed.
FetchResult Fetch(const FetchRequest& request);

}  // namespace finetune::emulator
