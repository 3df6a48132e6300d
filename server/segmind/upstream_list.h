#pragma once

#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "server/base/metrics.h"
#include "server/http/http_client.h"
#include "server/json/json.h"
#include "server/segmind/scrubber.h"

namespace finetune {

// Segmind documents a bare array without paging. Its sibling endpoints wrap their arrays, and a
// growing list may be cut into pages one day: this reads what is then around the jobs.

// One answer to `list`.
struct UpstreamPage {
  // The jobs, brackets included; a part of the body, not yet looked into.
  std::string_view array;
  // What says that more jobs follow, in words for a log; empty if nothing does.
  std::string more;
  // Where they are: a URL, a path, or a query beginning with `?`. Empty if it does not say.
  std::string next;
  // How many jobs there are on all pages, if it says so.
  std::optional<size_t> total;
};

// A bare array, or an object with one array of objects in it. Anything else is INTERNAL /
// UPSTREAM_MALFORMED. A bare array costs nothing.
absl::StatusOr<UpstreamPage> ReadUpstreamPage(std::string_view body, JsonParser& parser);

// INTERNAL / UPSTREAM_MALFORMED: `why` says what is wrong with the list.
absl::Status MalformedList(std::string_view why);

// A whole list, as far as Segmind lets it be read: one page, mostly.
struct UpstreamList {
  std::vector<std::string> bodies;
  // Why these are not known to be all jobs; empty if they are.
  std::string more;
  // Removes from texts what must not be kept; null: nothing to remove.
  std::shared_ptr<const Scrubber> scrubber;
  // A list with more is malformed.
  size_t max_jobs = std::numeric_limits<size_t>::max();
  // Counts the times in it that cannot be read; may be null.
  prometheus::Counter* unread_times = nullptr;

  size_t bytes() const;
};

// Follows a list from page to page. Not thread-safe.
class UpstreamPager {
 public:
  // `url` is that of the first page. Pages are followed only on its own host, and only up to a
  // fixed number; `max_bytes` bounds all of them together.
  UpstreamPager(std::string url, size_t max_bytes);

  // The URL of the page behind this one; nullopt if the list ends here, as far as it can be read.
  std::optional<std::string> Take(HttpResponse response);
  // The page that was asked for could not be had.
  void Fail(const absl::Status& status);
  UpstreamList Finish() && { return std::move(pages_); }

  size_t pages() const { return pages_.bodies.size(); }

 private:
  std::optional<std::string> UrlOf(const std::string& next) const;

  const std::string url_;
  const size_t max_bytes_;
  JsonParser parser_;
  UpstreamList pages_;
  absl::flat_hash_set<std::string> asked_;
  size_t bytes_ = 0;
  size_t items_ = 0;
};

}  // namespace finetune
