#include "server/service/requests/dataset_url.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "server/dataset/dataset_inspector.h"
#include "server/base/clock.h"
#include "server/service/requests/violations.h"

namespace finetune {
namespace {

constexpr absl::Duration kLongest = absl::Seconds(20);

absl::Status Wrong(absl::string_view what) {
  return InvalidField("fine_tune.data_source_uri", std::string(what));
}

// The answer to one HEAD. Streamer's thread only.
class HeadListener final : public HttpStreamListener {
 public:
  HeadListener(bool may_be_private, absl::AnyInvocable<void(absl::Status) &&> done)
      : may_be_private_(may_be_private), done_(std::move(done)) {}

  void OnHead(const HttpResponse& head) override {
    code_ = head.code;
    const std::string_view text = head.Header("content-length");
    int64_t number = 0;
    if (absl::SimpleAtoi(absl::string_view(text.data(), text.size()), &number)) length_ = number;
  }
  bool OnData(std::string_view) override { return true; }
  size_t OnSend(char*, size_t) override { return 0; }
  void OnEnd(absl::Status status) override { std::move(done_)(Verdict(status)); }

 private:
  absl::Status Verdict(const absl::Status& status) const {
    if (!status.ok()) return Wrong(absl::StrCat("cannot be fetched: ", status.message()));
    // A private upload in Segmind's own storage opens to Segmind alone.
    if (may_be_private_ && code_ == 403) return absl::OkStatus();
    if (code_ != 200) return Wrong(absl::StrCat("cannot be fetched: a HEAD is answered ", code_));
    if (!length_) return Wrong("must answer a HEAD with Content-Length");
    if (*length_ <= 0) return Wrong("leads to an empty file");
    if (*length_ >= kDatasetLimitBytes)
      return Wrong(absl::StrCat("leads to a file of ", *length_,
                                " bytes; Segmind takes datasets under ", kDatasetLimitBytes));
    return absl::OkStatus();
  }

  const bool may_be_private_;
  absl::AnyInvocable<void(absl::Status) &&> done_;
  int code_ = 0;
  std::optional<int64_t> length_;
};

}  // namespace

std::shared_ptr<HttpStream> CheckDatasetUrl(HttpStreamer& streamer, const pb::FineTune& job,
                                            const CallContext& context,
                                            absl::AnyInvocable<void(absl::Status) &&> done) {
  StreamRequest request{.method = "HEAD",
                        .url = Secret(job.data_source_uri()),
                        .follow_redirects = true,
                        .foreign = true,
                        .deadline = std::min(context.deadline, SteadyNow() + kLongest),
                        .trace = context.trace};
  return streamer.Start(std::move(request), std::make_shared<HeadListener>(
                                                job.base_model() != "FAST_FLUX", std::move(done)));
}

}  // namespace finetune
