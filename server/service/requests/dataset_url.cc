#include "server/service/requests/dataset_url.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "server/base/absl_view.h"
#include "server/base/clock.h"
#include "server/base/log.h"
#include "server/base/mutex.h"
#include "server/base/url.h"
#include "server/base/url_signature.h"
#include "server/base/weights_head.h"
#include "server/dataset/dataset_files.h"
#include "server/dataset/dataset_inspector.h"
#include "server/http/address_policy.h"
#include "server/service/requests/violations.h"

namespace finetune {
namespace {

constexpr absl::Duration kLongestCheck = absl::Seconds(20);
constexpr absl::Duration kLongestOfCreate = absl::Seconds(5);
// Enough for the directory of a zip with some thousand entries.
constexpr int64_t kTail = int64_t{128} << 10;
// An empty zip: its end record alone.
constexpr int64_t kLeastZip = 22;

// Whether the host is Segmind's own: its API's, its domain's or its bucket's.
bool IsOfSegmind(const Url& url, const std::string& upstream_url) {
  const auto upstream = Url::Parse(upstream_url);
  if (upstream.ok() && url.host() == upstream->host() && url.port() == upstream->port())
    return true;
  return url.host() == "segmind.com" || absl::EndsWith(url.host(), ".segmind.com") ||
         (absl::StartsWith(url.host(), "finetune-pipeline.s3.") &&
          absl::EndsWith(url.host(), ".amazonaws.com"));
}

// The part of an HTTP answer that is used here.
struct Answer {
  int code = 0;
  std::optional<int64_t> length;  // Of the whole file.
  int64_t first = 0;              // Of the body, in the file.
  std::string body;               // Up to kTail of it.
};

std::optional<int64_t> NumberIn(absl::string_view text) {
  int64_t number = 0;
  if (!absl::SimpleAtoi(text, &number) || number < 0) return std::nullopt;
  return number;
}

Answer HeadOf(const HttpResponse& head) {
  Answer answer{.code = head.code};
  if (head.code != 206) {
    answer.length = NumberIn(AbslView(head.Header("content-length")));
    return answer;
  }
  // Such as `bytes 1-2/3`.
  absl::string_view range = AbslView(head.Header("content-range"));
  absl::ConsumePrefix(&range, "bytes ");
  answer.first = NumberIn(range.substr(0, range.find('-'))).value_or(-1);
  if (const size_t slash = range.find('/'); slash != range.npos)
    answer.length = NumberIn(range.substr(slash + 1));
  return answer;
}

// A look under way. Its steps run on the streamer's thread, one after another.
class Look : public HttpStream, public std::enable_shared_from_this<Look> {
 public:
  struct Subject {
    Url url;
    bool is_signed = false;
    bool may_be_private = false;  // Segmind can read there what others cannot.
    bool lenient = false;
  };

  Look(HttpStreamer& streamer, Subject subject, absl::Time deadline, const TraceContext& trace,
       DatasetLooks::Done done)
      : streamer_(streamer),
        subject_(std::move(subject)),
        deadline_(deadline),
        trace_(trace),
        done_(std::move(done)) {}

  void Begin() { Ask("HEAD", "", &Look::OnHead); }

  void Resume() override {}
  void Cancel() override {
    {
      MutexLock lock(mu_);
      cancelled_ = true;
    }
    EndStream();
  }

 private:
  using Step = void (Look::*)(const Answer&);
  class Listener;

  void EndStream() {
    std::shared_ptr<HttpStream> stream;
    {
      MutexLock lock(mu_);
      stream = stream_;
    }
    if (stream) stream->Cancel();
  }
  void Ask(const char* method, const std::string& range, Step then);
  void OnEnd(const absl::Status& status, const Answer& answer, Step then);

  void OnHead(const Answer& answer);
  void OnStart(const Answer& answer);
  void OnTail(const Answer& answer);
  void AskForStart();
  void AskForTail();
  // Handles an answer that is neither the file nor a part of it.
  void OnRefusal(int code, const char* method);
  void Inspect(const Answer& answer);
  bool TakeLength(std::optional<int64_t> length, const char* method);

  // Lets go of the stream, whose listener holds this look.
  void End(absl::Status status) {
    std::shared_ptr<HttpStream> stream;
    {
      MutexLock lock(mu_);
      ended_ = true;
      stream = std::move(stream_);
    }
    std::move(done_)(std::move(status));
  }
  void Wrong(absl::string_view what) {
    End(InvalidField("fine_tune.data_source_uri", std::string(what)));
  }
  // Warns that the look could not tell; Segmind may still find the file.
  void CannotTell(absl::string_view why);

  HttpStreamer& streamer_;
  const Subject subject_;
  const absl::Time deadline_;
  const TraceContext trace_;
  DatasetLooks::Done done_;
  int64_t length_ = 0;

  Mutex mu_;
  bool cancelled_ ABSL_GUARDED_BY(mu_) = false;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
  std::shared_ptr<HttpStream> stream_ ABSL_GUARDED_BY(mu_);
};

// Gathers one answer, and ends its stream once there is enough of it.
class Look::Listener : public HttpStreamListener {
 public:
  Listener(std::shared_ptr<Look> look, Step then) : look_(std::move(look)), then_(then) {}

  void OnHead(const HttpResponse& head) override { answer_ = HeadOf(head); }
  bool OnData(std::string_view bytes) override {
    const size_t room = static_cast<size_t>(kTail) - answer_.body.size();
    answer_.body.append(bytes.substr(0, room));
    enough_ = enough_ || bytes.size() >= room;
    if (enough_) look_->EndStream();
    return true;
  }
  size_t OnSend(char*, size_t) override { return 0; }
  void OnEnd(absl::Status status) override {
    if (enough_) status = absl::OkStatus();
    look_->OnEnd(status, answer_, then_);
  }

 private:
  const std::shared_ptr<Look> look_;
  const Step then_;
  Answer answer_;
  bool enough_ = false;
};

void Look::Ask(const char* method, const std::string& range, Step then) {
  StreamRequest request{.method = method,
                        .url = Secret(subject_.url.text()),
                        .follow_redirects = true,
                        .foreign = true,
                        .deadline = deadline_,
                        .trace = trace_};
  request.headers.emplace_back("Accept-Encoding", "identity");
  if (!range.empty()) request.headers.emplace_back("Range", range);
  auto stream =
      streamer_.Start(std::move(request), std::make_shared<Listener>(shared_from_this(), then));
  bool cancelled;
  {
    MutexLock lock(mu_);
    if (!ended_) stream_ = stream;
    cancelled = cancelled_;
  }
  if (cancelled) stream->Cancel();
}

void Look::OnEnd(const absl::Status& status, const Answer& answer, Step then) {
  if (status.ok()) return (this->*then)(answer);
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
      return Wrong(absl::StrCat("cannot be fetched: ", status.message()));
    case absl::StatusCode::kPermissionDenied:
      // The name of a public host may lead to an address in this network when it is resolved here.
      if (IsPrivateByName(subject_.url.host()) || !subject_.lenient)
        return Wrong(absl::StrCat("cannot be fetched: ", status.message()));
      return CannotTell(status.message());
    default:
      return CannotTell(status.message());
  }
}

void Look::CannotTell(absl::string_view why) {
  if (!subject_.lenient) return Wrong(absl::StrCat("cannot be fetched: ", why));
  Log(LogLevel::kWarning, "a dataset could not be looked at; Segmind will",
      {{"trace_id", trace_.TraceId()},
       {"span_id", trace_.SpanId()},
       {"host", subject_.url.host()},
       {"error", std::string(why)}});
  End(absl::OkStatus());
}

void Look::OnRefusal(int code, const char* method) {
  if (code == 408 || code == 425 || code == 429 || code >= 500)
    return CannotTell(absl::StrCat("a ", method, " is answered ", code));
  if (subject_.may_be_private && (code == 401 || code == 403)) return End(absl::OkStatus());
  Wrong(absl::StrCat("cannot be fetched: a ", method, " is answered ", code));
}

bool Look::TakeLength(std::optional<int64_t> length, const char* method) {
  if (!length)
    Wrong(absl::StrCat("must answer a ", method, " with the file's length (Content-Length)"));
  else if (*length == 0)
    Wrong("leads to an empty file");
  else if (*length < kLeastZip)
    Wrong(absl::StrCat("leads to a file of ", *length, " bytes, no zip"));
  else if (*length >= kDatasetLimitBytes)
    Wrong(absl::StrCat("leads to a file of ", *length, " bytes; Segmind takes datasets under ",
                       kDatasetLimitBytes));
  else
    return length_ = *length, true;
  return false;
}

void Look::OnHead(const Answer& answer) {
  // A URL may be signed for a single method.
  if (answer.code != 200 && answer.code < 500 && subject_.is_signed && !subject_.may_be_private)
    return AskForStart();
  if (answer.code != 200) return OnRefusal(answer.code, "HEAD");
  if (TakeLength(answer.length, "HEAD")) AskForTail();
}

void Look::AskForStart() { Ask("GET", absl::StrCat("bytes=0-", kTail - 1), &Look::OnStart); }

void Look::OnStart(const Answer& answer) {
  if (answer.code != 200 && answer.code != 206) return OnRefusal(answer.code, "GET");
  if (!TakeLength(answer.length, "GET")) return;
  if (answer.code == 200 || length_ <= kTail) return Inspect(answer);
  AskForTail();
}

void Look::AskForTail() {
  Ask("GET", absl::StrCat("bytes=", std::max<int64_t>(0, length_ - kTail), "-", length_ - 1),
      &Look::OnTail);
}

void Look::OnTail(const Answer& answer) {
  if (answer.code != 200 && answer.code != 206) return OnRefusal(answer.code, "GET");
  Inspect(answer);
}

void Look::Inspect(const Answer& answer) {
  const bool from_start = answer.first == 0;
  const int64_t rest = length_ - answer.first;  // A server may have said any number.
  const auto size = static_cast<int64_t>(answer.body.size());
  if (answer.first < 0 || rest < size) return CannotTell("a part has no good Content-Range");
  const int64_t missing = rest - size;
  if (missing > 0 && !from_start) return CannotTell("the last part ends before the file does");
  DatasetInspector inspector(length_);
  inspector.Skip(answer.first);
  inspector.Write(answer.body);
  if (from_start && !inspector.MayBeZip()) {
    const std::string_view image = ImageFormat(answer.body);
    return Wrong(absl::StrCat(
        "leads to ",
        image.empty() ? SeemsToBe(answer.body) : absl::StrCat("an image (", AbslView(image), ")"),
        ", no zip"));
  }
  // This is the beginning of a larger file, from a server that does not serve parts.
  if (missing > 0) return End(absl::OkStatus());
  const DatasetFindings findings = inspector.Finish();
  if (findings.unusable.empty()) return End(absl::OkStatus());
  Wrong(absl::StrCat("leads to no dataset: ", findings.unusable));
}

}  // namespace

DatasetLooks::DatasetLooks(HttpStreamer& streamer, const std::string& upstream_url)
    : streamer_(streamer), upstream_url_(upstream_url) {}

std::shared_ptr<HttpStream> DatasetLooks::Start(const pb::FineTune& job, Purpose purpose,
                                                const CallContext& context, Done done) const {
  const bool lenient = purpose == Purpose::kCreate;
  // ParseAnswer will do: a caller's URL has already been checked.
  auto url = Url::ParseAnswer(job.data_source_uri());
  if (!url.ok()) {
    std::move(done)(InvalidField("fine_tune.data_source_uri", std::string(url.status().message())));
    return nullptr;
  }
  const bool is_private = job.base_model() != "FAST_FLUX" && IsOfSegmind(*url, upstream_url_);
  auto look = std::make_shared<Look>(
      streamer_,
      Look::Subject{.url = *std::move(url),
                    .is_signed = IsSigned(job.data_source_uri()),
                    .may_be_private = is_private,
                    .lenient = lenient},
      std::min(context.deadline, SteadyNow() + (lenient ? kLongestOfCreate : kLongestCheck)),
      context.trace, std::move(done));
  look->Begin();
  return look;
}

}  // namespace finetune
