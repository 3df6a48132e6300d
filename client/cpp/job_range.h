#pragma once

#include <segmind/finetune/v1/fine_tune_service.pb.h>

#include <iterator>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace finetune::inline client {

namespace pb = ::segmind::finetune::v1;

class FineTuneClient;

struct ListOptions {
  // As in ListFineTunesRequest.
  std::string filter;
  std::string order_by;
  pb::FineTuneView view = pb::FINE_TUNE_VIEW_UNSPECIFIED;
  // How old the first page may be; absent: whatever the gateway has.
  std::optional<absl::Duration> max_staleness;
  // How many jobs to ask for at once.
  int page_size = 1000;
};

// The jobs of a list, one after the other; a page is fetched when its first job is needed. A
// failure is the last element. Iterate once, on one thread; the client outlives it.
class JobRange {
 public:
  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = absl::StatusOr<pb::FineTune>;
    using difference_type = std::ptrdiff_t;
    using pointer = const value_type*;
    using reference = const value_type&;

    reference operator*() const { return *range_->current_; }
    pointer operator->() const { return &*range_->current_; }
    Iterator& operator++() {
      range_->Advance();
      if (!range_->current_) range_ = nullptr;
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(const Iterator&) const = default;

   private:
    friend class JobRange;
    explicit Iterator(JobRange* range) : range_(range) {}
    JobRange* range_;
  };

  JobRange(FineTuneClient& client, const ListOptions& options);

  Iterator begin();
  Iterator end() { return Iterator(nullptr); }

 private:
  void Advance();

  FineTuneClient& client_;
  pb::ListFineTunesRequest request_;
  pb::ListFineTunesResponse page_;
  int next_ = 0;
  bool last_page_ = false;
  std::optional<absl::StatusOr<pb::FineTune>> current_;
};

}  // namespace finetune::inline client
