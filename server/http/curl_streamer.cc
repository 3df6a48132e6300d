#include "server/http/curl_streamer.h"

#include <curl/curl.h>

#include <optional>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "server/base/clock.h"
#include "server/base/mutex.h"
#include "server/base/status_macros.h"
#include "server/http/call_span.h"
#include "server/http/curl_stream.h"
#include "server/http/left_lookups.h"

namespace finetune {
namespace {

// If nothing follows the last bytes for this long, their source has run dry.
constexpr int kDryMs = 1;

}  // namespace

// What other threads ask of the curl thread. Thread-safe; streams may hold it longer than the
// streamer lives.
class CurlStreamer::Mailbox {
 public:
  struct Message {
    enum class Kind { kStart, kResume, kCancel };
    Kind kind;
    std::shared_ptr<Stream> stream;
  };

  explicit Mailbox(CURLM* multi) : multi_(multi) {}

  // False once it is closed.
  bool Post(Message message) ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(mu_);
    if (closed_) return false;
    messages_.push_back(std::move(message));
    // Under the lock, so that the handle is still there.
    if (messages_.size() == 1) curl_multi_wakeup(multi_);
    return true;
  }
  // Takes what has been posted. False once it is closed.
  bool Take(std::vector<Message>& messages) ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(mu_);
    messages.swap(messages_);
    return !closed_;
  }
  void Close() ABSL_LOCKS_EXCLUDED(mu_) {
    MutexLock lock(mu_);
    if (!std::exchange(closed_, true)) curl_multi_wakeup(multi_);
  }

  CURLM* multi() const { return multi_; }

 private:
  CURLM* const multi_;
  Mutex mu_;
  bool closed_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<Message> messages_ ABSL_GUARDED_BY(mu_);
};

class CurlStreamer::Stream : public HttpStream, public std::enable_shared_from_this<Stream> {
 public:
  Stream(StreamRequest request, std::shared_ptr<HttpStreamListener> listener,
         std::shared_ptr<Mailbox> mailbox)
      : request_(std::move(request)),
        mailbox_(std::move(mailbox)),
        listener_(std::move(listener)),
        span_(StartStreamSpan(request_)) {}

  void Resume() override { mailbox_->Post({Mailbox::Message::Kind::kResume, shared_from_this()}); }
  void Cancel() override { mailbox_->Post({Mailbox::Message::Kind::kCancel, shared_from_this()}); }

  // The rest: curl thread only, or nobody else's yet.

  // Makes a hop to the URL as it is now.
  absl::Status Prepare(const CurlOptions& options, const AddressPolicy& policy) {
    if (!url_) {
      auto url = Url::ParseAnswer(request_.url.Reveal());
      if (!url.ok())
        return absl::InvalidArgumentError(absl::StrCat("the URL ", url.status().message()));
      url_ = *std::move(url);
    }
    hop_ = std::make_unique<CurlStream>(request_, *url_, *listener_);
    return hop_->Prepare(options, policy);
  }
  CURL* handle() const { return hop_ ? hop_->handle() : nullptr; }
  CurlStream& hop() { return *hop_; }
  bool foreign() const { return request_.foreign; }

  // Follows a redirect. False if that was one too many.
  bool Redirect(Url url, int most) {
    hop_.reset();
    url_ = std::move(url);
    return ++redirects_ <= most;
  }

  void End(absl::Status status) {
    EndStreamSpan(span_, hop_ ? hop_->code() : 0, status);
    hop_.reset();
    if (auto listener = std::exchange(listener_, nullptr)) listener->OnEnd(std::move(status));
  }

 private:
  const StreamRequest request_;
  const std::shared_ptr<Mailbox> mailbox_;

  std::optional<Url> url_;
  int redirects_ = 0;
  std::shared_ptr<HttpStreamListener> listener_;
  std::unique_ptr<CurlStream> hop_;
  Span span_;  // With all redirects.
};

// The thread's work. Curl thread only.
class CurlStreamer::Loop {
 public:
  Loop(const Options& options, const AddressPolicy& policy, Mailbox& mailbox)
      : mailbox_(mailbox),
        multi_(mailbox.multi()),
        policy_(policy),
        max_redirects_(options.max_redirects),
        curl_options_{.user_agent = options.user_agent,
                      .ca_file = options.ca_file,
                      .use_environment_proxy = options.use_environment_proxy} {}

  void Run() {
    std::vector<Mailbox::Message> messages;
    while (mailbox_.Take(messages)) {
      for (auto& message : messages) Act(message);
      messages.clear();
      Perform();
      curl_multi_poll(multi_, nullptr, 0, EndRound() ? kDryMs : 1000, nullptr);
    }
    const absl::Status gone = absl::CancelledError("the streamer is shut down");
    for (auto& message : messages)
      if (message.kind == Mailbox::Message::Kind::kStart) message.stream->End(gone);
    while (!running_.empty()) Take(running_.begin())->End(gone);
  }

 private:
  using Running = absl::flat_hash_map<CURL*, std::shared_ptr<Stream>>;

  void Act(Mailbox::Message& message) {
    using Kind = Mailbox::Message::Kind;
    if (message.kind == Kind::kStart) return Begin(message.stream);
    const auto found = running_.find(message.stream->handle());
    if (found == running_.end()) return;
    if (message.kind == Kind::kResume) {
      curl_easy_pause(found->first, CURLPAUSE_CONT);
      return;
    }
    const std::shared_ptr<Stream> stream = Take(found);
    NoteLookup(*stream);
    stream->End(absl::CancelledError("cancelled"));
  }

  // Of a stream that ends.
  void NoteLookup(Stream& stream) {
    if (stream.hop().awaits_name()) left_lookups_.Add(SteadyNow());
  }

  void Begin(const std::shared_ptr<Stream>& stream) {
    // Callers name hosts as they like.
    if (stream->foreign() && left_lookups_.Full(SteadyNow()))
      return stream->End(absl::UnavailableError("too many hosts' names are being looked for"));
    absl::Status status = stream->Prepare(curl_options_, policy_);
    if (status.ok() && curl_multi_add_handle(multi_, stream->handle()) != CURLM_OK)
      status = absl::InternalError("libcurl does not take the request");
    if (!status.ok()) return stream->End(std::move(status));
    CURL* const handle = stream->handle();
    running_.emplace(handle, stream);
  }

  // Advances all streams, and ends those that are done.
  void Perform() {
    int running = 0;
    curl_multi_perform(multi_, &running);
    int left = 0;
    while (CURLMsg* message = curl_multi_info_read(multi_, &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      const CURLcode code = message->data.result;
      Complete(Take(running_.find(message->easy_handle)), code);
    }
  }

  // Ends a round; tells whether bytes came in it.
  bool EndRound() {
    bool got_bytes = false;
    for (auto& [handle, stream] : running_) got_bytes |= stream->hop().EndRound();
    return got_bytes;
  }

  void Complete(const std::shared_ptr<Stream>& stream, CURLcode code) {
    if (code == CURLE_OPERATION_TIMEDOUT) NoteLookup(*stream);
    if (!stream->hop().redirected()) return stream->End(stream->hop().StatusOf(code));
    auto next = stream->hop().RedirectUrl();
    if (!next.ok()) return stream->End(next.status());
    if (!stream->Redirect(*std::move(next), max_redirects_))
      return stream->End(absl::InvalidArgumentError("it is redirected too often"));
    Begin(stream);
  }

  std::shared_ptr<Stream> Take(Running::iterator entry) {
    std::shared_ptr<Stream> stream = std::move(entry->second);
    curl_multi_remove_handle(multi_, entry->first);
    running_.erase(entry);
    return stream;
  }

  Mailbox& mailbox_;
  CURLM* const multi_;
  const AddressPolicy& policy_;
  const int max_redirects_;
  const CurlOptions curl_options_;
  Running running_;
  LeftLookups left_lookups_;
};

absl::StatusOr<std::unique_ptr<CurlStreamer>> CurlStreamer::Create(Options options,
                                                                   AddressPolicy policy) {
  RETURN_IF_ERROR(InitCurl());
  CURLM* const multi = curl_multi_init();
  if (multi == nullptr) return absl::InternalError("libcurl cannot be set up");
  curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, 16L);
  return std::unique_ptr<CurlStreamer>(
      new CurlStreamer(std::move(options), std::move(policy), std::make_shared<Mailbox>(multi)));
}

CurlStreamer::CurlStreamer(Options options, AddressPolicy policy, std::shared_ptr<Mailbox> mailbox)
    : options_(std::move(options)),
      policy_(std::move(policy)),
      mailbox_(std::move(mailbox)),
      thread_("transfers", [this] { Loop(options_, policy_, *mailbox_).Run(); }) {}

CurlStreamer::~CurlStreamer() {
  Shutdown();
  curl_multi_cleanup(mailbox_->multi());
}

std::shared_ptr<HttpStream> CurlStreamer::Start(StreamRequest request,
                                                std::shared_ptr<HttpStreamListener> listener) {
  auto stream = std::make_shared<Stream>(std::move(request), std::move(listener), mailbox_);
  if (!mailbox_->Post({Mailbox::Message::Kind::kStart, stream}))
    stream->End(absl::CancelledError("the streamer is shut down"));
  return stream;
}

void CurlStreamer::Shutdown() {
  mailbox_->Close();
  thread_.Join();
}

}  // namespace finetune
