#include "tests/emulator/router.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/emulator/bodies.h"
#include "tests/emulator/distort.h"
#include "tests/emulator/instead.h"
#include "tests/emulator/json.h"
#include "tests/emulator/page.h"
#include "tests/emulator/times.h"

namespace finetune::emulator {
namespace {

std::string CallOf(const Request& request) {
  if (absl::StartsWith(request.path, "/storage/")) {
    return request.method == "PUT" ? "storage_put" : "dataset_get";
  }
  if (absl::StartsWith(request.path, "/gcs/") || absl::StartsWith(request.path, "/gcs-content/")) {
    return "weights_get";
  }
  return ApiCallAt(request.path);
}

// The faults of this call, with what they say of its key filled in.
std::vector<Fault> Filled(std::vector<Fault> faults, const Request& request) {
  const std::string key = request.Header("x-api-key").value_or("");
  for (Fault& fault : faults) {
    if (fault.body) fault.body = WithKey(*fault.body, key);
    for (std::string* text : {&fault.message, &fault.value_json}) *text = WithKey(*text, key);
    for (auto& [name, value] : fault.headers) value = WithKey(value, key);
  }
  return faults;
}

}  // namespace

Router::Router(const LiveSettings* settings, ApiDoor* api, StorageDoor* storage,
               ControlDoor* control, const JobStore* jobs, FaultBook* faults, CallLog* log)
    : settings_(settings),
      api_(api),
      storage_(storage),
      control_(control),
      jobs_(jobs),
      faults_(faults),
      log_(log) {}

Answer Router::Handle(const Request& request) {
  const bool controls = absl::StartsWith(request.path, "/emulator/");
  std::optional<Answer> page = PageAnswer(request);
  Answer answer = page ? *std::move(page) : controls ? control_->Handle(request) : Serve(request);
  const std::shared_ptr<const Settings> settings = settings_->Get();
  const bool dated =
      std::any_of(answer.headers.begin(), answer.headers.end(),
                  [](const auto& header) { return absl::EqualsIgnoreCase(header.first, "Date"); });
  if (settings->date_header && !dated) {
    answer.headers.emplace_back(
        "Date", HttpDate(Shifted(std::chrono::system_clock::now(), settings->date_offset_seconds)));
  }
  return answer;
}

Answer Router::Serve(const Request& request) {
  const std::string call = CallOf(request);
  if (call.empty()) {
    log_->AddCall("unknown", request.method, request.path, 404, true, false, request.body.size(),
                  0);
    return HtmlAnswer(404);
  }
  std::vector<Fault> faults;
  if (faults_->any()) faults = Filled(faults_->Take(SubjectOf(call, request)), request);
  if (IsStorageCall(call) && request.Header("x-api-key")) log_->AddLeak();
  Answer answer;
  if (faults.empty()) {
    answer = Act(call, request, faults);
  } else {
    std::optional<Answer> instead = AnswerInstead(faults, call, *settings_->Get());
    if (MayAct(faults, call)) answer = Act(call, request, faults);
    if (instead) answer = std::move(*instead);
    Distort(faults, call, request, &answer);
  }
  const uint64_t bytes_in =
      request.spooled != nullptr ? request.spooled->size() : request.body.size();
  log_->AddCall(call, request.method, request.path, answer.code, !answer.close, !faults.empty(),
                bytes_in, request.method == "HEAD" ? 0 : answer.body_size());
  return answer;
}

Answer Router::Act(const std::string& call, const Request& request,
                   const std::vector<Fault>& faults) {
  if (!IsStorageCall(call)) return api_->Handle(call, request, faults);
  if (call == "storage_put") return storage_->PutObject(request);
  if (request.method != "GET" && request.method != "HEAD") {
    return XmlAnswer(405, "MethodNotAllowed",
                     "The specified method is not allowed against this resource.");
  }
  return call == "dataset_get" ? storage_->GetDataset(request) : storage_->GetWeights(request);
}

CallSubject Router::SubjectOf(const std::string& call, const Request& request) const {
  CallSubject subject{call, request.path, ""};
  if (call == "list" || request.body.size() > (1 << 20)) return subject;
  absl::StrAppend(&subject.text, "\n", request.body);
  std::string id;
  if (call == "details") {
    if (const std::optional<rapidjson::Document> body = ParseJson(request.body)) {
      id = StringMember(*body, "request_id").value_or("");
    }
  } else if (call == "access_update" || call == "file_download") {
    const auto form = ParseForm(request.Header("content-type").value_or(""), request.body);
    if (form && form->count("request_id") != 0) id = form->at("request_id");
  }
  if (id.empty()) return subject;
  if (const std::optional<Job> job = jobs_->Find(id)) {
    absl::StrAppend(&subject.text, "\n", job->id, "\n", job->finetune_id, "\n", job->name);
    subject.stage = job->status;
  }
  return subject;
}

}  // namespace finetune::emulator
