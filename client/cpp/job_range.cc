#include "client/cpp/job_range.h"

#include "client/cpp/client.h"
#include "client/cpp/durations.h"

namespace finetune::inline client {

JobRange::JobRange(FineTuneClient& client, const ListOptions& options) : client_(client) {
  request_.set_filter(options.filter);
  request_.set_order_by(options.order_by);
  request_.set_view(options.view);
  request_.set_page_size(options.page_size);
  if (options.max_staleness)
    SetDuration(*options.max_staleness, *request_.mutable_freshness()->mutable_max_staleness());
}

JobRange::Iterator JobRange::begin() {
  Advance();
  return Iterator(current_ ? this : nullptr);
}

void JobRange::Advance() {
  while (next_ >= page_.fine_tunes_size()) {
    if (last_page_) {
      current_.reset();
      return;
    }
    auto page = client_.ListPage(request_);
    next_ = 0;
    if (!page.ok()) {
      page_.Clear();
      last_page_ = true;
      current_ = page.status();
      return;
    }
    page_ = *std::move(page);
    request_.set_page_token(page_.next_page_token());
    // The first page was fresh enough; the others belong to it.
    request_.clear_freshness();
    last_page_ = page_.next_page_token().empty();
  }
  current_ = std::move(*page_.mutable_fine_tunes(next_++));
}

}  // namespace finetune::inline client
