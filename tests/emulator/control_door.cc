#include "tests/emulator/control_door.h"

#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tests/emulator/json.h"

namespace finetune::emulator {
namespace {

using rapidjson::Document;
using rapidjson::Value;

constexpr char kPrefix[] = "/emulator/";

Answer Done() { return JsonAnswer(R"({"ok":true})"); }

size_t LimitOf(const Request& request) {
  uint64_t limit = 0;
  const bool given = absl::SimpleAtoi(request.Query("limit").value_or(""), &limit);
  return given ? limit : 1000000;
}

// A job with the same input, under the same name, that begins anew.
Job CloneOf(const Job& original) {
  Job job = original;
  job.finetune_id.clear();
  job.slug.clear();
  job.status = "REQUESTED";
  job.error_message = job.cloud_storage_url = job.segmind_model_path = std::nullopt;
  return job;
}

}  // namespace

Answer ControlDoor::Handle(const Request& request) {
  Answer answer = request.method == "OPTIONS" ? TextAnswer(204, "text/plain", "") : Serve(request);
  // A page from elsewhere may turn it, too: there is nothing here to protect.
  answer.headers.emplace_back("Access-Control-Allow-Origin", "*");
  answer.headers.emplace_back("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE");
  answer.headers.emplace_back("Access-Control-Allow-Headers", "Content-Type");
  return answer;
}

Answer ControlDoor::Serve(const Request& request) {
  const std::string what = request.path.substr(sizeof(kPrefix) - 1);
  if (request.method == "GET") return Read(what, request);
  if (request.method == "DELETE") {
    int64_t id = 0;
    if (what == "faults") {
      parts_.faults->Clear();
    } else if (what == "jobs") {
      parts_.lifecycle->Clear();
      parts_.jobs->Clear();
    } else if (absl::StartsWith(what, "faults/") && absl::SimpleAtoi(what.substr(7), &id)) {
      if (!parts_.faults->Remove(id)) return ErrorAnswer(404, "there is no such fault");
    } else if (absl::StartsWith(what, "jobs/")) {
      if (!parts_.jobs->Remove(what.substr(5))) return ErrorAnswer(404, "there is no such job");
    } else {
      return ErrorAnswer(404, "DELETE knows faults, faults/ID, jobs and jobs/ID");
    }
    return Done();
  }
  if (request.method != "POST" && request.method != "PUT") return HtmlAnswer(405);
  const std::optional<Document> body = ParseJson(request.body.empty() ? "{}" : request.body);
  if (!body) return ErrorAnswer(400, "the body is not JSON");
  return Write(what, *body);
}

Answer ControlDoor::Read(const std::string& what, const Request& request) const {
  const size_t limit = LimitOf(request);
  if (what == "health") return Done();
  if (what == "stats") return JsonAnswer(parts_.log->StatsText());
  if (what == "seconds") return JsonAnswer(parts_.log->SecondsText());
  if (what == "calls") return JsonAnswer(parts_.log->CallsText(limit));
  if (what == "submits") {
    return JsonAnswer(parts_.log->SubmitsText(limit, request.Query("name").value_or("")));
  }
  if (what == "webhooks") {
    return JsonAnswer(parts_.log->WebhooksText(limit, request.Query("job").value_or("")));
  }
  if (what == "duplicates") return JsonAnswer(parts_.log->DuplicatesText());
  if (what == "settings") return JsonAnswer(SettingsText(*parts_.settings->Get()));
  if (what == "jobs") return JobsText(request);
  if (what == "faults/kinds") return TextAnswer(200, "text/plain", FaultHelp());
  if (what == "faults") {
    std::string text = "[";
    for (const Fault& fault : parts_.faults->All()) {
      absl::StrAppend(&text, text.size() > 1 ? ",\n" : "", FaultText(fault));
    }
    return JsonAnswer(text + "]");
  }
  if (absl::StartsWith(what, "jobs/")) {
    const std::optional<Job> job = parts_.jobs->Find(what.substr(5));
    return job ? JsonAnswer(ControlText(*job)) : ErrorAnswer(404, "there is no such job");
  }
  if (absl::StartsWith(what, "weights/")) return WeightsText(what.substr(8));
  return ErrorAnswer(
      404,
      "GET knows health, stats, seconds, calls, submits, webhooks, duplicates, settings, "
      "jobs, jobs/ID, weights/ID, faults, faults/kinds");
}

Answer ControlDoor::JobsText(const Request& request) const {
  const std::string status = request.Query("status").value_or("");
  const std::string name = request.Query("name").value_or("");
  const size_t limit = LimitOf(request);
  const std::vector<Job> jobs = parts_.jobs->All();
  std::string text = "[";
  size_t count = 0;
  for (auto job = jobs.rbegin(); job != jobs.rend() && count < limit; ++job) {
    if (!status.empty() && job->status != status) continue;
    if (!absl::StrContains(job->name, name)) continue;
    absl::StrAppend(&text, count++ > 0 ? ",\n" : "", ControlText(*job));
  }
  return JsonAnswer(text + "]");
}

Answer ControlDoor::WeightsText(const std::string& id) const {
  const std::optional<Job> job = parts_.jobs->Find(id);
  if (!job) return ErrorAnswer(404, "there is no such job");
  const uint64_t set = parts_.settings->Get()->weights_bytes;
  const Weights weights(job->id, job->weights_bytes != 0 ? job->weights_bytes : set);
  return JsonAnswer(ObjectText()
                        .Add("bytes", static_cast<int64_t>(weights.size()))
                        .Add("sha256", weights.Sha256())
                        .Add("etag", weights.etag())
                        .Text());
}

Answer ControlDoor::Write(const std::string& what, const Value& body) {
  if (what == "reset") {
    Reset();
    return Done();
  }
  if (what == "faults") return PostFault(body);
  if (what == "jobs") return PostJob(body);
  if (absl::StartsWith(what, "jobs/") && absl::EndsWith(what, "/cancel")) {
    return CancelJob(what.substr(5, what.size() - 12), body);
  }
  if (absl::StartsWith(what, "jobs/")) return ChangeJob(what.substr(5), body);
  if (what == "webhook") return PostWebhook(body);
  std::optional<std::string> error;
  if (what == "clock" || what == "settings") {
    error = ChangeSettings(body);
  } else if (what == "scenario") {
    error = ApplyScenario(ToText(body));
  } else if (what == "prefill") {
    const Value* count = Member(body, "count");
    if (count == nullptr || !count->IsUint64() || count->GetUint64() > 1000000) {
      error = "count must be a whole number of at most 1000000";
    } else {
      Prefill(count->GetUint64());
    }
  } else {
    return ErrorAnswer(
        404,
        "POST knows faults, jobs, jobs/ID, jobs/ID/cancel, webhook, clock, settings, scenario, "
        "prefill, reset");
  }
  return error ? ErrorAnswer(400, *error) : Done();
}

Answer ControlDoor::PostFault(const Value& body) {
  Fault fault;
  if (std::optional<std::string> error = ParseFault(body, &fault)) return ErrorAnswer(400, *error);
  return JsonAnswer(ObjectText().Add("id", parts_.faults->Add(std::move(fault))).Text());
}

Answer ControlDoor::PostJob(const Value& body) {
  if (!body.IsObject()) return ErrorAnswer(400, "a job must be an object");
  Document fields;
  fields.CopyFrom(body, fields.GetAllocator());
  for (const char* name : {"walk", "clone_of"}) fields.RemoveMember(name);
  Job job;
  job.name = "made-by-hand";
  job.base_model = "FAST_FLUX";
  job.theme = "subject";
  job.train_type = "LORA";
  if (const std::optional<std::string> id = StringMember(body, "clone_of")) {
    const std::optional<Job> original = parts_.jobs->Find(*id);
    if (!original) return ErrorAnswer(404, "there is no job to clone of that id");
    job = CloneOf(*original);
  }
  job.id = NewUuid();
  job.created = job.updated = std::chrono::system_clock::now();
  if (std::optional<std::string> error = ApplyJobFields(fields, &job)) {
    return ErrorAnswer(400, *error);
  }
  if (job.finetune_id.empty()) {
    job.finetune_id = parts_.settings->Get()->distinct_ids ? NewUuid() : job.id;
  }
  if (job.slug.empty()) job.slug = SlugOf(job.id, job.name);
  if (job.status == "AVAILABLE" && Member(body, "cloud_storage_url") == nullptr) {
    job.cloud_storage_url = WeightsUrl(parts_.settings->Get()->public_url, job.id);
  }
  const Value* walk = Member(body, "walk");
  const bool walks = walk != nullptr && walk->IsBool() && walk->GetBool();
  const std::string id = job.id;
  std::string text = ControlText(job);
  if (!parts_.jobs->Add(std::move(job))) return ErrorAnswer(409, "there is a job of that id");
  if (walks) parts_.lifecycle->Walk(id);
  return JsonAnswer(std::move(text));
}

Answer ControlDoor::ChangeJob(const std::string& id, const Value& body) {
  if (!body.IsObject()) return ErrorAnswer(400, "a change must be an object");
  std::optional<Job> job = parts_.jobs->Find(id);
  if (!job) return ErrorAnswer(404, "there is no such job");
  Document fields;
  fields.CopyFrom(body, fields.GetAllocator());
  for (const char* name : {"walk", "status", "id", "finetune_id"}) fields.RemoveMember(name);
  // Tried on a copy first, so that a wrong change changes nothing.
  if (std::optional<std::string> error = ApplyJobFields(fields, &*job)) {
    return ErrorAnswer(400, *error);
  }
  parts_.jobs->Update(id, [&](Job* changed) {
    changed->updated = std::chrono::system_clock::now();
    ApplyJobFields(fields, changed);
  });
  const Value* walk = Member(body, "walk");
  const bool walks = walk != nullptr && walk->IsBool() && walk->GetBool();
  if (const std::optional<std::string> status = StringMember(body, "status")) {
    parts_.lifecycle->Enter(id, *status, walks);
  } else if (walks) {
    parts_.lifecycle->Walk(id);
  }
  job = parts_.jobs->Find(id);
  return job ? JsonAnswer(ControlText(*job)) : ErrorAnswer(404, "the job has gone");
}

Answer ControlDoor::CancelJob(const std::string& id, const Value& body) {
  Document change;
  change.SetObject();
  const std::string word = StringMember(body, "status").value_or("CANCELLED");
  const std::string why = StringMember(body, "error_message").value_or("Cancelled by user");
  auto& allocator = change.GetAllocator();
  change.AddMember("status", Value(word.c_str(), allocator), allocator);
  change.AddMember("error_message", Value(why.c_str(), allocator), allocator);
  return ChangeJob(id, change);
}

Answer ControlDoor::PostWebhook(const Value& body) {
  if (parts_.settings->Get()->webhook_url.empty()) {
    return ErrorAnswer(400, "there is no webhook: set webhook_url at /emulator/settings");
  }
  const Value* text = Member(body, "body");
  const std::string job = StringMember(body, "job").value_or("");
  // {"body": ...} posts that, a string as it is; anything else is posted itself.
  std::string bytes = text == nullptr    ? ToText(body)
                      : text->IsString() ? std::string(text->GetString(), text->GetStringLength())
                                         : ToText(*text);
  parts_.webhooks->PostRaw(job, "by hand", std::move(bytes));
  return Done();
}

std::optional<std::string> ControlDoor::ChangeSettings(const Value& body) {
  Settings settings = *parts_.settings->Get();
  if (std::optional<std::string> error = ApplySettings(body, &settings)) return error;
  const double credits = settings.credits;
  parts_.settings->Set(std::move(settings));
  if (Member(body, "credits") != nullptr) parts_.account->SetCredits(credits);
  parts_.lifecycle->ScaleChanged();
  parts_.jobs->Rerender();
  return std::nullopt;
}

void ControlDoor::Reset() {
  parts_.faults->Clear();
  parts_.lifecycle->Clear();
  parts_.webhooks->Clear();
  parts_.jobs->Clear();
  parts_.objects->Clear();
  parts_.log->Clear();
  parts_.settings->Set(initial_);
  parts_.account->SetCredits(initial_.credits);
  parts_.account->Reset();
  parts_.lifecycle->ScaleChanged();
}

std::optional<std::string> ControlDoor::ApplyScenario(std::string_view json) {
  const std::optional<Document> scenario = ParseJson(json);
  if (!scenario || !scenario->IsObject()) return "a scenario must be one JSON object";
  for (const auto& member : scenario->GetObject()) {
    const std::string name = member.name.GetString();
    if (name != "settings" && name != "faults" && name != "jobs") {
      return absl::StrCat("a scenario has no part ", name);
    }
    if (name != "settings" && !member.value.IsArray()) return absl::StrCat(name, " is no array");
  }
  if (const Value* settings = Member(*scenario, "settings")) {
    if (std::optional<std::string> error = ChangeSettings(*settings)) return error;
  }
  for (const char* part : {"faults", "jobs"}) {
    const Value* items = Member(*scenario, part);
    if (items == nullptr) continue;
    for (const Value& item : items->GetArray()) {
      const Answer answer = part[0] == 'f' ? PostFault(item) : PostJob(item);
      if (answer.code == 200) continue;
      return absl::StrCat(part, ": ", *StringMember(*ParseJson(*answer.text), "error"));
    }
  }
  return std::nullopt;
}

void ControlDoor::Prefill(uint64_t count) {
  const std::shared_ptr<const Settings> settings = parts_.settings->Get();
  for (uint64_t i = 0; i < count; ++i) parts_.jobs->Add(PrefilledJob(i, *settings));
}

}  // namespace finetune::emulator
