#include "tests/fakes/fake_segmind.h"

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>

#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "server/base/log.h"
#include "server/base/uuid.h"

namespace finetune {
namespace {

std::string Field(const std::string& body, const std::string& name) {
  google::protobuf::Struct fields;
  if (!google::protobuf::util::JsonStringToMessage(body, &fields).ok()) return "";
  auto found = fields.fields().find(name);
  return found == fields.fields().end() ? "" : found->second.string_value();
}

const std::string& SecondId(const FakeJob& job) {
  return job.other_id.empty() ? job.id : job.other_id;
}

std::string ItemOf(const FakeJob& job) {
  return absl::StrCat(
      R"({"id":")", SecondId(job), R"(","finetune_id":")", job.id, R"(","name":)",
      JsonString(job.name), R"(,"data_source_path":)", JsonString(job.data_source),
      R"(,"status":")", job.status, R"(","source_type":"AWS_S3","base_model":")", job.base_model,
      R"(","error_message":)", job.error_message.empty() ? "null" : JsonString(job.error_message),
      R"(,"cloud_storage_url":null,"theme":"subject","train_type":null,"segmind_public_model":)",
      job.is_public ? "true" : "false", "}");
}

std::string DetailsOf(const FakeJob& job) {
  return absl::StrCat(
      R"({"finetune":{"id":")", SecondId(job), R"(","finetune_id":")", job.id, R"(","name":)",
      JsonString(job.name), R"(,"data_source_path":)", JsonString(job.data_source),
      R"(,"status":")", job.status, R"(","instance_prompt":)", JsonString(job.prompt),
      R"(,"source_type":"AWS_S3","base_model":")", job.base_model, R"(","cloud_storage_url":)",
      job.weights_url.empty() ? "null" : JsonString(job.weights_url), R"(,"error_message":)",
      job.error_message.empty() ? "null" : JsonString(job.error_message), R"(,"slug":")", job.id,
      R"(-slug","created_ts":")",
      absl::FormatTime("%Y-%m-%dT%H:%M:%E6SZ", job.created, absl::UTCTimeZone()),
      R"(","public_model":)", job.is_public ? "true" : "false", "}}");
}

}  // namespace

// Cut by Shutdown: what is under way then fails, and later answers find nobody.
class FakeSegmind::Connection : public HttpClient {
 public:
  explicit Connection(FakeSegmind& segmind) : segmind_(segmind) {}

  void Start(HttpRequest request, Done done) override {
    auto waiting = std::make_shared<Done>(std::move(done));
    uint64_t id = 0;
    {
      MutexLock lock(state_->mu);
      if (!state_->cut) {
        id = ++state_->last;
        state_->calls[id] = waiting;
      }
    }
    if (id == 0) {
      HttpResult result;
      result.status = absl::CancelledError("shut down");
      return std::move(*waiting)(std::move(result));
    }
    if (request.deadline != absl::InfiniteFuture()) {
      segmind_.clock_.RunAt(request.deadline, [state = state_, id] {
        auto call = state->Take(id);
        if (call == nullptr) return;
        HttpResult result;
        result.status = absl::DeadlineExceededError("timeout");
        result.sent = true;
        std::move (*call)(std::move(result));
      });
    }
    segmind_.worker_.Post(
        [&segmind = segmind_, state = state_, id, request = std::move(request)]() mutable {
          if (!state->MaySend(request)) {
            HttpResult result;
            result.status = absl::AbortedError("not to be sent any more");
            if (auto call = state->Take(id)) std::move (*call)(std::move(result));
            return;
          }
          segmind.Handle(std::move(request), [state, id](HttpResult result) {
            if (auto call = state->Take(id)) std::move (*call)(std::move(result));
          });
        });
  }

  void Shutdown() override {
    std::map<uint64_t, std::shared_ptr<Done>> calls;
    {
      MutexLock lock(state_->mu);
      state_->cut = true;
      calls.swap(state_->calls);
    }
    // Whoever is asked now may soon be gone.
    MutexLock asking(state_->asking);
    for (auto& [id, call] : calls) {
      HttpResult result;
      result.status = absl::CancelledError("shut down");
      result.sent = true;
      std::move (*call)(std::move(result));
    }
  }

 private:
  struct State {
    Mutex mu;
    bool cut ABSL_GUARDED_BY(mu) = false;
    uint64_t last ABSL_GUARDED_BY(mu) = 0;
    std::map<uint64_t, std::shared_ptr<Done>> calls ABSL_GUARDED_BY(mu);
    Mutex asking;  // Held while a caller is asked whether it still wants to send.

    bool MaySend(const HttpRequest& request) {
      if (!request.may_send) return true;
      MutexLock lock(asking);
      {
        MutexLock state(mu);
        if (cut) return false;
      }
      return request.may_send();
    }
    std::shared_ptr<Done> Take(uint64_t id) {
      MutexLock lock(mu);
      auto found = calls.find(id);
      if (found == calls.end()) return nullptr;
      auto call = std::move(found->second);
      calls.erase(found);
      return call;
    }
  };

  FakeSegmind& segmind_;
  const std::shared_ptr<State> state_ = std::make_shared<State>();
};

std::unique_ptr<HttpClient> FakeSegmind::Connect() { return std::make_unique<Connection>(*this); }

void FakeSegmind::NextSubmits(std::vector<Fate> fates) {
  MutexLock lock(mu_);
  next_submits_.assign(fates.begin(), fates.end());
}
void FakeSegmind::set_submit_fate(std::function<Fate()> fate) {
  MutexLock lock(mu_);
  submit_fate_ = std::move(fate);
}
void FakeSegmind::set_list_fate(std::function<Fate()> fate) {
  MutexLock lock(mu_);
  list_fate_ = std::move(fate);
}
void FakeSegmind::set_details_fate(std::function<Fate()> fate) {
  MutexLock lock(mu_);
  details_fate_ = std::move(fate);
}

void FakeSegmind::set_access_fate(std::function<Fate()> fate) {
  MutexLock lock(mu_);
  access_fate_ = std::move(fate);
}
void FakeSegmind::set_refusal(int code, std::string error) {
  MutexLock lock(mu_);
  refusal_code_ = code;
  refusal_ = std::move(error);
}
void FakeSegmind::set_list_delay(std::function<absl::Duration()> delay) {
  MutexLock lock(mu_);
  list_delay_ = std::move(delay);
}
void FakeSegmind::set_submit_hook(std::function<bool(bool)> hook) {
  MutexLock lock(mu_);
  submit_hook_ = std::move(hook);
}

void FakeSegmind::set_name_change(std::function<std::string(const std::string&)> change) {
  MutexLock lock(mu_);
  name_change_ = std::move(change);
}

void FakeSegmind::set_page(size_t jobs, bool says_so) {
  MutexLock lock(mu_);
  page_ = jobs;
  page_says_so_ = says_so;
}

void FakeSegmind::set_answered_id(std::string json) {
  MutexLock lock(mu_);
  answered_id_ = std::move(json);
}

void FakeSegmind::Release() {
  worker_.Post([this] {
    std::vector<Held> held;
    {
      MutexLock lock(mu_);
      held.swap(held_);
    }
    for (Held& call : held) {
      HttpResult result = call.taken ? std::move(call.result) : Take(call.request);
      std::move(call.done)(std::move(result));
    }
  });
}

void FakeSegmind::Add(FakeJob job) {
  MutexLock lock(mu_);
  if (job.created == absl::UnixEpoch()) job.created = clock_.Now();
  jobs_.push_back(std::move(job));
}

void FakeSegmind::Change(const std::string& id, const std::function<void(FakeJob&)>& change) {
  MutexLock lock(mu_);
  for (FakeJob& job : jobs_) {
    if (job.id == id) change(job);
  }
}

std::vector<FakeJob> FakeSegmind::jobs() const {
  MutexLock lock(mu_);
  return jobs_;
}
int FakeSegmind::posts() const {
  MutexLock lock(mu_);
  return posts_;
}
int FakeSegmind::lists() const {
  MutexLock lock(mu_);
  return lists_;
}
int FakeSegmind::details() const {
  MutexLock lock(mu_);
  return details_;
}

HttpResult FakeSegmind::Answer(int code, std::string body) {
  HttpResult result;
  result.sent = true;
  result.start_time = clock_.Now();
  result.response.code = code;
  result.response.headers = {
      {"content-type", body[0] == '<' ? "text/html" : "application/json"},
      {"date", absl::FormatTime("%a, %d %b %Y %H:%M:%S GMT", Now(), absl::UTCTimeZone())}};
  result.response.body = std::move(body);
  return result;
}

HttpResult FakeSegmind::Lost(bool sent) {
  HttpResult result;
  result.status = absl::UnavailableError(sent ? "connection reset" : "connection refused");
  result.sent = sent;
  return result;
}

void FakeSegmind::Handle(HttpRequest request, HttpClient::Done done) {
  if (absl::StrContains(request.url, "/submit")) {
    return HandleSubmit(std::move(request), std::move(done));
  }
  const bool list = absl::StrContains(request.url, "/list");
  const bool details = absl::StrContains(request.url, "/details");
  const bool access = absl::StrContains(request.url, "/access-update");
  Fate fate = Fate::kFine;
  {
    MutexLock lock(mu_);
    if (list) ++lists_;
    if (details) ++details_;
    if (list && list_fate_) fate = list_fate_();
    if (details && details_fate_) fate = details_fate_();
    if (access && access_fate_) fate = access_fate_();
  }
  if (fate == Fate::kServerError) return std::move(done)(Answer(503, "<html>busy</html>"));
  if (fate == Fate::kKeyRefused)
    return std::move(done)(Answer(401, R"({"error":"Unauthorized. API key is invalid"})"));
  if (fate == Fate::kLostAfter) return std::move(done)(Lost(true));
  HttpResult result = list      ? List()
                      : details ? Details(request)
                      : access  ? SetPublic(request)
                                : Answer(404, R"({"error":"no such path"})");
  if (fate == Fate::kTruncated) {
    result.response.body.resize(result.response.body.size() * 2 / 3);
  }
  if (fate == Fate::kHeld) {
    MutexLock lock(mu_);
    held_.push_back({std::move(request), std::move(done), true, std::move(result)});
    return;
  }
  std::move(done)(std::move(result));
}

void FakeSegmind::HandleSubmit(HttpRequest request, HttpClient::Done done) {
  Fate fate = Fate::kFine;
  std::function<bool(bool)> hook;
  std::string refusal;
  int code = 0;
  {
    MutexLock lock(mu_);
    hook = submit_hook_;
    if (!next_submits_.empty()) {
      fate = next_submits_.front();
      next_submits_.pop_front();
    } else if (submit_fate_) {
      fate = submit_fate_();
    }
    if (fate != Fate::kNoConnection) ++posts_;
    refusal = absl::StrCat(R"({"error":)", JsonString(refusal_), "}");
    code = refusal_code_;
  }
  if (hook && !hook(false)) return std::move(done)(Lost(true));
  if (fate == Fate::kNoConnection) return std::move(done)(Lost(false));
  if (fate == Fate::kLostBefore) return std::move(done)(Lost(true));
  if (fate == Fate::kHeldRefused) {
    HttpResult refused = Answer(code, refusal);
    MutexLock lock(mu_);
    held_.push_back({std::move(request), std::move(done), true, std::move(refused)});
    return;
  }
  if (fate == Fate::kHeldBefore) {
    MutexLock lock(mu_);
    held_.push_back({std::move(request), std::move(done), false, {}});
    return;
  }
  if (fate == Fate::kServerError) return std::move(done)(Answer(502, "<html>bad gateway</html>"));
  if (fate == Fate::kRefused) return std::move(done)(Answer(code, refusal));
  if (fate == Fate::kNoCredits)
    return std::move(done)(Answer(402, R"({"error":"Insufficient credits"})"));
  HttpResult result = Take(request);
  if (hook && !hook(true)) return std::move(done)(Lost(true));
  if (fate == Fate::kHeld) {
    MutexLock lock(mu_);
    held_.push_back({std::move(request), std::move(done), true, std::move(result)});
    return;
  }
  if (fate == Fate::kLostAfter) result = Lost(true);
  if (fate == Fate::kPageAfter) result = Answer(404, "<html>not here</html>");
  if (fate == Fate::kServerErrorAfter) result = Answer(502, "<html>bad gateway</html>");
  if (fate == Fate::kTruncated) {
    result.response.body.resize(result.response.body.size() / 2);
  }
  std::move(done)(std::move(result));
}

HttpResult FakeSegmind::Take(const HttpRequest& request) {
  FakeJob job;
  job.id = MakeUuid();
  job.name = Field(request.body, "name");
  job.data_source = Field(request.body, "data_source_path");
  job.prompt = Field(request.body, "instance_prompt");
  job.base_model = Field(request.body, "base_model");
  job.visible = clock_.Now();
  std::string id = absl::StrCat(R"("finetune_id":")", job.id, "\"");
  {
    MutexLock lock(mu_);
    job.created = Now();
    if (list_delay_) job.visible += list_delay_();
    if (name_change_) job.name = name_change_(job.name);
    jobs_.push_back(job);
    if (!answered_id_.empty()) id = answered_id_;
  }
  return Answer(
      200, absl::StrCat(R"({"status":"REQUESTED","name":)", JsonString(job.name), ",", id, "}"));
}

HttpResult FakeSegmind::List() {
  const absl::Time now = clock_.Now();
  std::vector<std::string> items;
  bool says_so = false;
  {
    MutexLock lock(mu_);
    for (const FakeJob& job : jobs_) {
      if (job.hidden || job.visible > now) continue;
      if (items.size() == page_) {
        says_so = page_says_so_;
        break;
      }
      items.push_back(ItemOf(job));
    }
  }
  const std::string array = absl::StrCat("[", absl::StrJoin(items, ","), "]");
  return Answer(200,
                says_so ? absl::StrCat(R"({"finetunes":)", array, R"(,"has_more":true})") : array);
}

HttpResult FakeSegmind::Details(const HttpRequest& request) {
  const std::string id = Field(request.body, "request_id");
  MutexLock lock(mu_);
  for (const FakeJob& job : jobs_) {
    if ((job.id == id || job.other_id == id) && !job.hidden) return Answer(200, DetailsOf(job));
  }
  return Answer(404, R"({"error":"not found"})");
}

HttpResult FakeSegmind::SetPublic(const HttpRequest& request) {
  std::map<std::string, std::string> form(request.form.begin(), request.form.end());
  MutexLock lock(mu_);
  for (FakeJob& job : jobs_) {
    if (job.id != form["request_id"] || job.hidden) continue;
    job.is_public = form["segmind_public"] == "True";
    return Answer(200, "200");
  }
  return Answer(404, R"({"error":"not found"})");
}

}  // namespace finetune
