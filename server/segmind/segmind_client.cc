#include "server/segmind/segmind_client.h"

#include <algorithm>
#include <utility>

#include "absl/strings/strip.h"
#include "server/segmind/download_urls.h"
#include "server/segmind/retry_time.h"
#include "server/segmind/segmind_answers.h"
#include "server/segmind/upstream_exchange.h"

namespace finetune {

// A list on its way, page by page. Used by one thread at a time; held by the call under way.
struct SegmindClient::ListRead : std::enable_shared_from_this<ListRead> {
  ListRead(const std::string& url, const CallContext& in, const Options& limits,
           prometheus::Counter& unread, std::weak_ptr<UpstreamExchange> by, Done<ListAnswer> then)
      : context(in),
        options(limits),
        unread_times(unread),
        exchange(std::move(by)),
        done(std::move(then)),
        pager(url, limits.max_answer_bytes) {}

  void Start(HttpRequest request) {
    const std::shared_ptr<UpstreamExchange> calls = exchange.lock();
    if (calls == nullptr) return Finish();
    ExchangeCall call{.subject = {UpstreamCall::kList, ""},
                      .request = std::move(request),
                      .deadline = context.deadline,
                      .trace = context.trace,
                      .try_timeout = options.list_timeout,
                      .priority = RateLimiter::Priority::kBackground};
    calls->Start(std::move(call), [self = shared_from_this()](ExchangeResult result) {
      if (auto next = self->Take(std::move(result))) return self->Start(*std::move(next));
      self->Finish();
    });
  }

  // The request for the page after the one in `result`, if there is one.
  std::optional<HttpRequest> Take(ExchangeResult result) {
    const bool is_first = pager.pages() == 0;
    answer.start_time =
        is_first ? result.start_time : std::min(answer.start_time, result.start_time);
    if (!result.status.ok()) {
      // Some pages are better than none, as long as the answer says that it is partial.
      if (is_first)
        status = std::move(result.status);
      else
        pager.Fail(result.status);
      return std::nullopt;
    }
    if (is_first) {
      answer.upstream_time = DateOf(result.response);
      answer.pages.scrubber = std::move(result.scrubber);
    }
    const std::optional<std::string> next = pager.Take(std::move(result.response));
    if (!next) return std::nullopt;
    HttpRequest request = ListRequest("", options.max_answer_bytes);
    request.url = *next;
    return request;
  }
  void Finish() {
    if (!status.ok()) return std::move(done)(std::move(status));
    UpstreamList pages = std::move(pager).Finish();
    pages.scrubber = std::move(answer.pages.scrubber);
    pages.max_jobs = options.max_listed_jobs;
    pages.unread_times = &unread_times;
    answer.pages = std::move(pages);
    std::move(done)(std::move(answer));
  }

  const CallContext context;
  const Options options;
  prometheus::Counter& unread_times;
  const std::weak_ptr<UpstreamExchange> exchange;
  Done<ListAnswer> done;
  UpstreamPager pager;
  ListAnswer answer;
  absl::Status status;
};

// What each call asks and how its answer is read; UpstreamExchange makes the calls. A class of its
// own because a call that waits for a download URL which another call asks for may come to ask
// itself when the client is gone: it holds this weakly.
class SegmindClient::Core {
 public:
  Core(Options options, HttpClient& http, ApiKeySource& key, Clock& clock, Metrics& metrics)
      : options_(std::move(options)),
        credits_(options_.credits_good_for, metrics),
        exchange_(std::make_shared<UpstreamExchange>(
            options_.calls_per_minute, options_.call_budget, http, key, clock, metrics, credits_)),
        download_urls_(std::make_shared<DownloadUrls>(clock)),
        unread_times_(
            metrics.Counter("finetune_gateway_unreadable_times_total",
                            "Times in Segmind's lists and details that could not be read.")) {
    options_.url = std::string(absl::StripSuffix(options_.url, "/"));
  }
  ~Core() { exchange_->Shutdown(); }

  const Options& options() const { return options_; }
  const std::string& url() const { return options_.url; }
  UpstreamExchange& exchange() { return *exchange_; }
  std::weak_ptr<UpstreamExchange> weak_exchange() { return exchange_; }
  prometheus::Counter& unread_times() { return unread_times_; }
  DownloadUrls& download_urls() { return *download_urls_; }
  AccountCredits& credits() { return credits_; }

  // Makes a call whose 2xx answer `read` turns into a T.
  template <typename T, typename Read>
  void Call(ExchangeCall call, Done<T> done, Read read) {
    CallSubject subject = call.subject;
    exchange_->Start(std::move(call), [subject = std::move(subject), read = std::move(read),
                                       done = std::move(done)](ExchangeResult result) mutable {
      if (!result.status.ok()) return std::move(done)(std::move(result.status));
      std::move(done)(read(subject, result));
    });
  }

 private:
  Options options_;  // Constant after construction.
  AccountCredits credits_;
  const std::shared_ptr<UpstreamExchange> exchange_;
  const std::shared_ptr<DownloadUrls> download_urls_;
  prometheus::Counter& unread_times_;
};

SegmindClient::SegmindClient(Options options, HttpClient& http, ApiKeySource& key, Clock& clock,
                             Metrics& metrics)
    : core_(std::make_shared<Core>(std::move(options), http, key, clock, metrics)) {}

SegmindClient::~SegmindClient() = default;

void SegmindClient::Submit(const pb::FineTune& fine_tune, const std::string& upstream_name,
                           const CallContext& context,
                           absl::AnyInvocable<void(SubmitOutcome) &&> done) {
  ExchangeCall call{.subject = {UpstreamCall::kSubmit, ""},
                    .request = SubmitRequest(core_->url(), fine_tune, upstream_name),
                    .deadline = context.deadline,
                    .trace = context.trace,
                    .try_timeout = core_->options().submit_timeout,
                    .priority = RateLimiter::Priority::kSubmit,
                    .sharer = context.sharer,
                    .once = true};
  call.request.may_send = context.may_send;
  core_->exchange().Start(std::move(call), [subject = CallSubject{UpstreamCall::kSubmit, ""},
                                            done = std::move(done)](ExchangeResult result) mutable {
    std::move(done)(SubmitOutcomeOf(subject, result));
  });
}

void SegmindClient::GetDetails(const std::string& upstream_id, const CallContext& context,
                               Done<DetailsAnswer> done) {
  ExchangeCall call{.subject = {UpstreamCall::kDetails, upstream_id},
                    .request = DetailsRequest(core_->url(), upstream_id),
                    .deadline = context.deadline,
                    .trace = context.trace,
                    .try_timeout = core_->options().read_timeout,
                    .priority = RateLimiter::Priority::kBackground,
                    .cancellation = context.cancellation};
  core_->Call<DetailsAnswer>(
      std::move(call), std::move(done),
      [&unread_times = core_->unread_times()](
          const CallSubject& subject, ExchangeResult& result) -> absl::StatusOr<DetailsAnswer> {
        absl::StatusOr<UpstreamJob> job = ReadDetails(subject, result);
        if (!job.ok()) return job.status();
        unread_times.Increment(job->unread_times);
        return DetailsAnswer{*std::move(job), result.start_time};
      });
}

void SegmindClient::GetList(const CallContext& context, Done<ListAnswer> done) {
  HttpRequest request = ListRequest(core_->url(), core_->options().max_answer_bytes);
  std::make_shared<ListRead>(request.url, context, core_->options(), core_->unread_times(),
                             core_->weak_exchange(), std::move(done))
      ->Start(std::move(request));
}

void SegmindClient::CreateUploadUrl(const std::string& file_name, bool is_public,
                                    const CallContext& context, Done<UploadUrlAnswer> done) {
  ExchangeCall call{.subject = {UpstreamCall::kUploadUrl, ""},
                    .request = UploadUrlRequest(core_->url(), file_name, is_public),
                    .deadline = context.deadline,
                    .trace = context.trace,
                    .try_timeout = core_->options().read_timeout,
                    .sharer = context.sharer,
                    .cancellation = context.cancellation};
  core_->Call<UploadUrlAnswer>(std::move(call), std::move(done),
                               [](const CallSubject& subject, ExchangeResult& result) {
                                 return ReadUploadUrl(subject, result);
                               });
}

void SegmindClient::SetPublic(const std::string& upstream_id, bool is_public,
                              const CallContext& context,
                              absl::AnyInvocable<void(absl::Status) &&> done) {
  // Retried like a read, because it sets a state and does not change it step by step. The answer's
  // body is not looked at: it may be `200`, empty or JSON.
  ExchangeCall call{.subject = {UpstreamCall::kAccessUpdate, upstream_id},
                    .request = AccessUpdateRequest(core_->url(), upstream_id, is_public),
                    .deadline = context.deadline,
                    .trace = context.trace,
                    .try_timeout = core_->options().read_timeout,
                    .sharer = context.sharer,
                    .cancellation = context.cancellation};
  core_->exchange().Start(std::move(call), [done = std::move(done)](ExchangeResult result) mutable {
    std::move(done)(std::move(result.status));
  });
}

void SegmindClient::CreateDownloadUrl(const std::string& cloud_storage_url,
                                      const CallContext& context, Done<Secret> done) {
  ExchangeCall call{.subject = {UpstreamCall::kDownloadUrl, ""},
                    .request = DownloadUrlRequest(core_->url(), cloud_storage_url),
                    .deadline = context.deadline,
                    .trace = context.trace,
                    .try_timeout = core_->options().read_timeout,
                    .sharer = context.sharer,
                    .cancellation = context.cancellation};
  auto ask = [weak = std::weak_ptr<Core>(core_),
              call = std::move(call)](DownloadUrls::Done answer) mutable {
    const std::shared_ptr<Core> core = weak.lock();
    if (core == nullptr) return std::move(answer)(absl::CancelledError("the gateway is stopping"));
    core->Call<Secret>(std::move(call), std::move(answer),
                       [](const CallSubject& subject, ExchangeResult& result) {
                         return ReadDownloadUrl(subject, result);
                       });
  };
  core_->download_urls().Get(cloud_storage_url, std::move(ask), std::move(done));
}

void SegmindClient::ForgetDownloadUrl(const std::string& cloud_storage_url) {
  core_->download_urls().Forget(cloud_storage_url);
}

void SegmindClient::GetCredits(const CallContext& context, Done<int64_t> done) {
  ExchangeCall call{.subject = {UpstreamCall::kCredits, ""},
                    .request = CreditsRequest(core_->url()),
                    .deadline = context.deadline,
                    .trace = context.trace,
                    .try_timeout = core_->options().read_timeout,
                    .priority = RateLimiter::Priority::kBackground,
                    .cancellation = context.cancellation};
  core_->Call<int64_t>(
      std::move(call), std::move(done),
      [&credits = core_->credits()](const CallSubject& subject, ExchangeResult& result) {
        absl::StatusOr<int64_t> told = ReadCredits(subject, result);
        if (told.ok()) credits.Note(*told, result.start_time);
        return told;
      });
}

AccountCredits& SegmindClient::credits() { return core_->credits(); }

void SegmindClient::EndQueue() { core_->exchange().EndQueue(); }

pb::GatewayStatus::UpstreamState SegmindClient::state() const { return core_->exchange().state(); }

void SegmindClient::ForgetLists() { core_->exchange().ForgetHealth(UpstreamCall::kList); }

int SegmindClient::calls_left() const { return core_->exchange().calls_left(); }

}  // namespace finetune
