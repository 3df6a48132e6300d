#include "tests/emulator/api_door.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "tests/emulator/json.h"
#include "tests/emulator/names.h"
#include "tests/emulator/paging.h"

namespace finetune::emulator {
namespace {

using rapidjson::Document;
using rapidjson::Value;

struct Endpoint {
  const char* path;
  const char* call;
  const char* method;
};

constexpr Endpoint kEndpoints[] = {
    {"/finetune/request/submit", "submit", "POST"},
    {"/finetune/request/details", "details", "GET"},
    {"/finetune/request/list", "list", "GET"},
    {"/finetune/request/upload/pre-signed-url", "upload_url", "GET"},
    {"/finetune/request/access-update", "access_update", "PUT"},
    {"/finetune/request/file/download", "file_download", "GET"},
    {"/v1/get-user-credits", "credits", "GET"},
};

const std::map<std::string, std::vector<std::string>>& ThemesOfModels() {
  static const auto* const themes = new std::map<std::string, std::vector<std::string>>{
      {"FAST_FLUX", {"subject"}},
      {"FLUX", {"FLUX", "KONTEXT"}},
      {"QWEN", {"QWEN"}},
      {"FLUX_PRO", {"CHARACTER", "PRODUCT", "STYLE", "GENERAL"}},
  };
  return *themes;
}

bool OneOf(const std::string& word, const std::vector<std::string>& words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

// The JSON object in the body, or the refusal of this call.
std::optional<Answer> ReadBody(const Request& request, Document* body) {
  if (request.too_large) return ErrorAnswer(413, "Request entity too large");
  if (request.body.empty()) return ErrorAnswer(400, "Request body is missing");
  const std::string type = request.Header("content-type").value_or("");
  if (!absl::StartsWithIgnoreCase(type, "application/json")) {
    return ErrorAnswer(406, "Invalid content type");
  }
  std::optional<Document> parsed = ParseJson(request.body);
  if (!parsed || !parsed->IsObject()) return ErrorAnswer(400, "Malformed JSON in request body");
  *body = std::move(*parsed);
  return std::nullopt;
}

// The fields of the form in the body, or the refusal of this call.
std::optional<Answer> ReadForm(const Request& request, std::map<std::string, std::string>* form) {
  if (request.body.empty()) return ErrorAnswer(400, "Request body is missing");
  const std::string type = absl::AsciiStrToLower(request.Header("content-type").value_or(""));
  if (!absl::StartsWith(type, "multipart/form-data") &&
      !absl::StartsWith(type, "application/x-www-form-urlencoded")) {
    return ErrorAnswer(406, "Invalid content type");
  }
  std::optional<std::map<std::string, std::string>> parsed =
      ParseForm(request.Header("content-type").value_or(""), request.body);
  if (!parsed) return ErrorAnswer(400, "Malformed form in request body");
  *form = std::move(*parsed);
  return std::nullopt;
}

std::optional<Answer> RefuseMissing(const Value& body) {
  for (const char* name : {"name", "data_source_path", "instance_prompt", "base_model"}) {
    const Value* value = Member(body, name);
    if (value == nullptr) return ErrorAnswer(400, absl::StrCat("Missing required field: ", name));
    if (!value->IsString() || value->GetStringLength() == 0) {
      return ErrorAnswer(400, absl::StrCat("Invalid value for field: ", name));
    }
  }
  const bool kontext = StringMember(body, "theme") == "KONTEXT";
  if (!kontext && StringMember(body, "trigger_word").value_or("").empty()) {
    return ErrorAnswer(400, "Missing required field: trigger_word");
  }
  for (const char* name : {"trigger_word", "theme", "train_type", "machine_type"}) {
    const Value* value = Member(body, name);
    if (value != nullptr && !value->IsString() && !value->IsNull()) {
      return ErrorAnswer(400, absl::StrCat("Invalid value for field: ", name));
    }
  }
  const Value* is_public = Member(body, "segmind_public");
  if (is_public != nullptr && !is_public->IsBool()) {
    return ErrorAnswer(400, "Invalid value for field: segmind_public");
  }
  const Value* parameters = Member(body, "advance_parameters");
  if (parameters != nullptr && !parameters->IsObject() && !parameters->IsNull()) {
    return ErrorAnswer(400, "Invalid value for field: advance_parameters");
  }
  return std::nullopt;
}

std::optional<Answer> RefuseParameters(const Value& body) {
  const std::string model = *StringMember(body, "base_model");
  const auto themes = ThemesOfModels().find(model);
  if (themes == ThemesOfModels().end()) return ErrorAnswer(406, "Invalid base_model: " + model);
  const std::optional<std::string> theme = StringMember(body, "theme");
  if (theme && !OneOf(*theme, themes->second)) {
    return ErrorAnswer(406, absl::StrCat("Invalid theme for ", model, ": ", *theme));
  }
  const std::optional<std::string> train_type = StringMember(body, "train_type");
  if (train_type && !OneOf(*train_type, {"LORA", "FULL", ""})) {
    return ErrorAnswer(406, "Invalid train_type: " + *train_type);
  }
  const std::optional<std::string> machine = StringMember(body, "machine_type");
  if (machine && !OneOf(*machine, {"NVIDIA_A100_40GB", "NVIDIA_H100", "NVIDIA_L40S", ""})) {
    return ErrorAnswer(406, "Invalid machine_type: " + *machine);
  }
  return std::nullopt;
}

Job JobOf(const Value& body, const Settings& settings) {
  Job job;
  job.id = NewUuid();
  job.finetune_id = settings.distinct_ids ? NewUuid() : job.id;
  job.name = MangledName(settings.name_mangling, *StringMember(body, "name"));
  job.data_source_path = *StringMember(body, "data_source_path");
  job.instance_prompt = *StringMember(body, "instance_prompt");
  job.base_model = *StringMember(body, "base_model");
  job.trigger_word = StringMember(body, "trigger_word").value_or("");
  job.theme = StringMember(body, "theme").value_or("");
  job.train_type = StringMember(body, "train_type").value_or("");
  job.machine_type = StringMember(body, "machine_type").value_or("");
  job.slug = SlugOf(job.id, job.name);
  if (const Value* value = Member(body, "segmind_public")) job.is_public = value->GetBool();
  const Value* parameters = Member(body, "advance_parameters");
  if (parameters != nullptr && parameters->IsObject()) {
    job.advance_parameters_json = ToText(*parameters);
  }
  job.created = job.updated = std::chrono::system_clock::now();
  return job;
}

// What a submit answers of the job that it took.
std::string TakenText(const Job& job) {
  const bool qwen = job.base_model == "QWEN";
  return ObjectText()
      .Add("status", job.status)
      .Add(qwen ? "request_id" : "finetune_id", qwen ? job.id : job.finetune_id)
      .Add("name", job.name)
      .Text();
}

}  // namespace

std::string ApiCallAt(const std::string& path) {
  for (const Endpoint& endpoint : kEndpoints) {
    if (path == endpoint.path) return endpoint.call;
  }
  return "";
}

ApiDoor::ApiDoor(const LiveSettings* settings, Account* account, JobStore* jobs,
                 Lifecycle* lifecycle, const StorageDoor* storage, CallLog* log)
    : settings_(settings),
      account_(account),
      jobs_(jobs),
      lifecycle_(lifecycle),
      storage_(storage),
      log_(log) {}

Answer ApiDoor::Handle(const std::string& call, const Request& request,
                       const std::vector<Fault>& faults) {
  for (const Endpoint& endpoint : kEndpoints) {
    if (call == endpoint.call && request.method != endpoint.method) return HtmlAnswer(405);
  }
  if (std::optional<Answer> refusal = account_->Refuse(request)) return std::move(*refusal);
  Answer answer;
  if (call == "submit") {
    answer = Submit(request, faults);
  } else if (call == "details") {
    answer = Details(request);
  } else if (call == "list") {
    answer = List(request);
  } else if (call == "upload_url") {
    answer = UploadUrl(request);
  } else if (call == "access_update") {
    answer = UpdateAccess(request);
  } else if (call == "file_download") {
    answer = FileDownload(request);
  } else {
    answer = JsonAnswer(
        ObjectText().AddNumber("credits", account_->credits()).AddNumber("free-credits", 0).Text());
  }
  answer.headers.emplace_back("x-request-id", NewUuid());
  if (settings_->Get()->credits_header)
    answer.headers.emplace_back("x-remaining-credits", NumberText(account_->credits()));
  return answer;
}

Answer ApiDoor::Submit(const Request& request, const std::vector<Fault>& faults) {
  Document body;
  std::optional<Answer> refusal = ReadBody(request, &body);
  if (!refusal) refusal = RefuseMissing(body);
  if (!refusal) refusal = RefuseParameters(body);
  if (!refusal && !account_->Pay()) {
    refusal = ErrorAnswer(static_cast<int>(settings_->Get()->no_credits_code),
                          "Insufficient credits. Please add credits to your account");
  }
  SubmitRecord record;
  record.time = std::chrono::system_clock::now();
  record.body = request.body;
  if (refusal) {
    record.code = refusal->code;
    record.name = StringMember(body, "name").value_or("");
    log_->AddSubmit(std::move(record));
    return std::move(*refusal);
  }
  Job job = JobOf(body, *settings_->Get());
  for (const Fault& fault : faults) {
    if (fault.kind != "list_delay") continue;
    job.hidden_lists = fault.list_calls;
    job.visible_at = std::chrono::steady_clock::now() +
                     std::chrono::milliseconds(static_cast<int64_t>(fault.seconds * 1000));
  }
  record.taken = true;
  record.code = 200;
  record.id = job.id;
  record.name = *StringMember(body, "name");
  log_->AddSubmit(std::move(record));
  const std::string answer = TakenText(Announced(job, faults));
  const std::string id = job.id;
  jobs_->Add(std::move(job));
  lifecycle_->Walk(id);
  return JsonAnswer(answer);
}

Job ApiDoor::Announced(const Job& job, const std::vector<Fault>& faults) const {
  Job announced = job;
  for (const Fault& fault : faults) {
    if (fault.kind != "other_id") continue;
    const std::vector<Job> jobs = jobs_->All();
    for (auto other = jobs.rbegin(); other != jobs.rend(); ++other) {
      if (!fault.job.empty() && other->id != fault.job && other->finetune_id != fault.job &&
          other->name.find(fault.job) == std::string::npos) {
        continue;
      }
      announced.id = other->id;
      announced.finetune_id = other->finetune_id;
      break;
    }
  }
  return announced;
}

Answer ApiDoor::List(const Request& request) {
  const std::shared_ptr<const Settings> settings = settings_->Get();
  if (settings->list_page_size == 0 && settings->sign_urls.empty()) {
    Answer answer;
    answer.text = jobs_->ListBody();
    return answer;
  }
  Answer answer = ListAnswer(jobs_->ListItems(), request, *settings);
  if (settings->sign_urls.empty()) return answer;
  answer.text = std::make_shared<const std::string>(storage_->WithSignedUrls(*answer.text));
  return answer;
}

Answer ApiDoor::Details(const Request& request) const {
  Document body;
  if (std::optional<Answer> refusal = ReadBody(request, &body)) return std::move(*refusal);
  const std::optional<std::string> id = StringMember(body, "request_id");
  if (!id || id->empty()) return ErrorAnswer(400, "Missing required field: request_id");
  const std::optional<Job> job = jobs_->Find(*id);
  if (!job || job->hidden_lists > 0 || job->visible_at > std::chrono::steady_clock::now()) {
    return ErrorAnswer(404, "Finetune request not found");
  }
  return JsonAnswer(storage_->WithSignedUrls(
      ObjectText().AddRaw("finetune", DetailsText(*job, *settings_->Get())).Text()));
}

Answer ApiDoor::UploadUrl(const Request& request) const {
  Document body;
  if (std::optional<Answer> refusal = ReadBody(request, &body)) return std::move(*refusal);
  const std::optional<std::string> name = StringMember(body, "name");
  if (!name || name->empty()) return ErrorAnswer(400, "Missing required field: name");
  std::string extension = ".zip";
  if (Member(body, "extension") != nullptr) {
    extension = StringMember(body, "extension").value_or("");
    if (extension != ".zip") return ErrorAnswer(400, "Invalid value for field: extension");
  }
  const Value* is_public = Member(body, "public");
  if (is_public != nullptr && !is_public->IsBool()) {
    return ErrorAnswer(400, "Invalid value for field: public");
  }
  std::string key = *name;
  std::replace(key.begin(), key.end(), '/', '_');
  const UploadGrant grant =
      storage_->GrantUpload(key, extension, is_public != nullptr && is_public->GetBool());
  return JsonAnswer(ObjectText()
                        .Add("presigned_url", grant.presigned_url)
                        .Add("s3_url", grant.object_url)
                        .Text());
}

Answer ApiDoor::UpdateAccess(const Request& request) {
  std::map<std::string, std::string> form;
  if (std::optional<Answer> refusal = ReadForm(request, &form)) return std::move(*refusal);
  const std::string id = form["request_id"];
  if (id.empty()) return ErrorAnswer(400, "Missing required field: request_id");
  const std::string word = form["segmind_public"];
  if (word != "True" && word != "False") {
    return ErrorAnswer(400, "Invalid value for field: segmind_public");
  }
  const std::optional<Job> job = jobs_->Update(id, [&](Job* changed) {
    changed->is_public = word == "True";
    changed->updated = std::chrono::system_clock::now();
  });
  if (!job) return ErrorAnswer(404, "Finetune request not found");
  const std::string shape = settings_->Get()->access_update_answer;
  if (shape == "empty") return TextAnswer(200, "text/plain", "");
  if (shape == "json") return JsonAnswer(R"({"message":"success"})");
  return TextAnswer(200, "application/json", "200");
}

Answer ApiDoor::FileDownload(const Request& request) const {
  std::map<std::string, std::string> form;
  if (std::optional<Answer> refusal = ReadForm(request, &form)) return std::move(*refusal);
  // A signature that it carries is void: the path says which object is meant.
  const std::string given = form["cloud_storage_url"];
  const std::string url = given.substr(0, given.find('?'));
  if (url.empty()) return ErrorAnswer(400, "Missing required field: cloud_storage_url");
  const size_t slash = url.rfind('/');
  const std::string file = slash == std::string::npos ? url : url.substr(slash + 1);
  const std::optional<Job> job = jobs_->Find(file.substr(0, file.find(".safetensors")));
  if (!job || job->cloud_storage_url != url) return ErrorAnswer(404, "File not found");
  return TextAnswer(200, "text/plain", storage_->GrantDownload(url));
}

}  // namespace finetune::emulator
