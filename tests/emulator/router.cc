#include "tests/emulator/router.h"

#include <cstdlib>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/emulator/distort.h"
#include "tests/emulator/json.h"

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

bool IsStorage(const std::string& call) {
  return call == "storage_put" || call == "dataset_get" || call == "weights_get";
}

}  // namespace

Router::Router(ApiDoor* api, StorageDoor* storage, ControlDoor* control, const JobStore* jobs,
               FaultBook* faults, CallLog* log)
    : api_(api), storage_(storage), control_(control), jobs_(jobs), faults_(faults), log_(log) {}

Answer Router::Handle(const Request& request) {
  if (absl::StartsWith(request.path, "/emulator/")) return control_->Handle(request);
  const std::string call = CallOf(request);
  if (call.empty()) {
    log_->AddCall("unknown", request.method, request.path, 404, true, false, request.body.size(),
                  0);
    return HtmlAnswer(404);
  }
  std::vector<Fault> faults;
  if (faults_->any()) faults = faults_->Take(SubjectOf(call, request));
  if (IsStorage(call) && request.Header("x-api-key")) log_->AddLeak();
  Answer answer;
  if (faults.empty()) {
    answer = Act(call, request, faults);
  } else {
    std::optional<Answer> instead = AnswerInstead(faults, call);
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
  if (!IsStorage(call)) return api_->Handle(call, request, faults);
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
