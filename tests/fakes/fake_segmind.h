#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/base/clock.h"
#include "server/base/mutex.h"
#include "server/base/worker.h"
#include "server/http/http_client.h"

namespace finetune {

// What happens to a call.
enum class Fate {
  kFine,
  kRefused,           // `refusal`; nothing is taken.
  kNoConnection,      // No byte left.
  kLostBefore,        // The request left and never arrived.
  kLostAfter,         // Segmind took it and the answer was lost.
  kServerError,       // 502, nothing taken.
  kServerErrorAfter,  // 502, taken.
  kTruncated,         // Taken; the answer breaks off, as valid HTTP.
  kPageAfter,         // A page of somebody in between, 404, taken.
  kNoCredits,         // 402 in Segmind's own words; nothing is taken.
  kKeyRefused,        // 401 likewise; not of submits.
  kHeld,              // Taken; the answer waits for Release().
  kHeldBefore,        // Waits for Release() and is taken then.
  kHeldRefused,       // Waits for Release() and is refused then.
};

struct FakeJob {
  std::string id;
  std::string other_id;  // What lists call `id`, where that is not the finetune_id.
  std::string name;
  std::string data_source;
  std::string prompt;
  std::string status = "REQUESTED";
  std::string error_message;
  std::string base_model = "FAST_FLUX";
  std::string weights_url;  // In details alone.
  absl::Time created;       // By Segmind's clock.
  // Lists show it from then on.
  absl::Time visible;
  bool is_public = false;
  bool hidden = false;  // From lists and details.
};

// Segmind's fine-tuning API in memory, with jobs that come to light and answers that are lost. For
// tests of what happens over time: it lives by the clock that it is given. (The emulator is a
// process with a clock of its own; CannedSegmind answers what a test has written.) Outlives the
// connections to it. Thread-safe.
class FakeSegmind {
 public:
  explicit FakeSegmind(Clock& clock) : clock_(clock), worker_("fake-segmind") {}
  ~FakeSegmind() { worker_.Stop(); }

  // A gateway's way here. Each has to be Shutdown.
  std::unique_ptr<HttpClient> Connect();

  // The fate of the next submits, in order, then of all others; and of lists, details and changes
  // of access.
  void NextSubmits(std::vector<Fate> fates);
  void set_submit_fate(std::function<Fate()> fate);
  void set_list_fate(std::function<Fate()> fate);
  void set_details_fate(std::function<Fate()> fate);
  void set_access_fate(std::function<Fate()> fate);
  void set_refusal(int code, std::string error);
  // What submits answer in place of the finetune_id, which only lists and details then show.
  void set_answered_id(std::string json);
  // How long lists do not show a new job.
  void set_list_delay(std::function<absl::Duration()> delay);
  // What becomes of a submitted job's name.
  void set_name_change(std::function<std::string(const std::string&)> change);
  // How far its clock is ahead.
  void set_clock_ahead(absl::Duration ahead) { clock_ahead_ns_ = absl::ToInt64Nanoseconds(ahead); }
  // Lists show so many jobs, the oldest; whether they say so.
  void set_page(size_t jobs, bool says_so = false);
  // Called before a submit is looked at and after it was taken; false cuts the connection then and
  // there.
  void set_submit_hook(std::function<bool(bool after)> hook);
  void Release();

  void Add(FakeJob job);
  void Change(const std::string& id, const std::function<void(FakeJob&)>& change);
  std::vector<FakeJob> jobs() const;
  int posts() const;  // Submits that left their gateway.
  int lists() const;
  int details() const;
  int taken() const { return static_cast<int>(jobs().size()); }

 private:
  class Connection;
  struct Held {
    HttpRequest request;
    HttpClient::Done done;
    bool taken;
    HttpResult result;
  };

  void Handle(HttpRequest request, HttpClient::Done done);
  // Segmind's own clock: nobody here sets it.
  absl::Time Now() { return clock_.Now() + absl::Nanoseconds(clock_ahead_ns_.load()); }
  void HandleSubmit(HttpRequest request, HttpClient::Done done);
  HttpResult Take(const HttpRequest& request);
  HttpResult List();
  HttpResult Details(const HttpRequest& request);
  HttpResult SetPublic(const HttpRequest& request);
  HttpResult Answer(int code, std::string body);
  static HttpResult Lost(bool sent);

  Clock& clock_;
  std::atomic<int64_t> clock_ahead_ns_{0};
  mutable Mutex mu_;
  std::vector<FakeJob> jobs_ ABSL_GUARDED_BY(mu_);
  std::deque<Fate> next_submits_ ABSL_GUARDED_BY(mu_);
  std::function<Fate()> submit_fate_ ABSL_GUARDED_BY(mu_);
  std::function<Fate()> list_fate_ ABSL_GUARDED_BY(mu_);
  std::function<Fate()> details_fate_ ABSL_GUARDED_BY(mu_);
  std::function<Fate()> access_fate_ ABSL_GUARDED_BY(mu_);
  std::function<absl::Duration()> list_delay_ ABSL_GUARDED_BY(mu_);
  std::function<bool(bool)> submit_hook_ ABSL_GUARDED_BY(mu_);
  int refusal_code_ ABSL_GUARDED_BY(mu_) = 400;
  std::string refusal_ ABSL_GUARDED_BY(mu_) = "Missing field";
  std::function<std::string(const std::string&)> name_change_ ABSL_GUARDED_BY(mu_);
  size_t page_ ABSL_GUARDED_BY(mu_) = SIZE_MAX;
  bool page_says_so_ ABSL_GUARDED_BY(mu_) = false;
  std::string answered_id_ ABSL_GUARDED_BY(mu_);
  std::vector<Held> held_ ABSL_GUARDED_BY(mu_);
  int posts_ ABSL_GUARDED_BY(mu_) = 0;
  int lists_ ABSL_GUARDED_BY(mu_) = 0;
  int details_ ABSL_GUARDED_BY(mu_) = 0;
  Worker worker_;
};

}  // namespace finetune
