#include "tests/emulator/faults.h"

#include <algorithm>
#include <iterator>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "tests/emulator/bodies.h"
#include "tests/emulator/json.h"

namespace finetune::emulator {
namespace {

// Which calls a kind can spoil.
enum Where : unsigned { kApi = 1, kStorage = 2, kWebhook = 4, kLifecycle = 8, kHttp = 3 };

struct Kind {
  const char* name;
  unsigned where;
  const char* default_call;
  int64_t default_count;
  const char* help;
};

constexpr Kind kKinds[] = {
    {"latency", kHttp, "any", 1, "acts, answers ms (+ up to jitter_ms) later"},
    {"status", kHttp, "any", 1,
     "answers code with body (content_type, headers), or message in shape; acts if act"},
    {"error_after", kHttp, "any", 1, "acts, then answers code (502) as status does"},
    {"rate_limited", kApi, "any", 1,
     "code (429), window over in seconds (60), reset header; retry_after seconds|date"},
    {"html", kHttp, "any", 1, "answers code (502) with an HTML page"},
    {"truncated", kHttp, "any", 1,
     "acts, cuts the body after bytes or fraction (0.5); content_length cut|full"},
    {"partial", kHttp, "any", 1, "truncated with the full Content-Length, then closes"},
    {"malformed", kApi | kWebhook, "any", 1, "acts, answers JSON that is none"},
    {"empty", kApi | kWebhook, "any", 1, "acts, answers an empty body"},
    {"headers", kHttp, "any", 1, "acts, the answer has these headers, too"},
    {"encoded", kHttp, "any", 1,
     "acts, the body in encoding (gzip, x-gzip, deflate; others by name alone)"},
    {"gzip_bomb", kHttp, "any", 1, "acts, the body and bytes (1 GiB) of spaces after it, in gzip"},
    {"chunked", kHttp, "any", 1, "acts, the body in chunks, without Content-Length"},
    {"endless_headers", kHttp, "any", 1, "acts, bytes (1 GiB) of headers, repeat over and over"},
    {"endless_trailers", kHttp, "any", 1, "acts, the body in chunks, then bytes of trailers"},
    {"interim", kHttp, "any", 1, "acts, times (2) answers of code (103) before the real one"},
    {"raw", kHttp, "any", 1,
     "acts if act, body as it is on the wire, then bytes of repeat, then closes"},
    {"lost_answer", kHttp, "any", 1, "acts, closes without a byte (reset: with RST)"},
    {"close_before", kHttp, "any", 1, "closes without acting and without a byte"},
    {"stall", kHttp, "any", 1, "acts, sends bytes of the body or nothing, closes after ms (60000)"},
    {"unknown_status", kApi | kWebhook, "reads", 1, "the job's status reads status"},
    {"status_backwards", kApi | kWebhook, "reads", 1,
     "the job's status reads status, or two before"},
    {"vanish", kApi, "list", 1, "job (or the newest) is not in list; details answers 404"},
    {"list_delay", kApi, "submit", -1, "a job taken now shows after seconds or list_calls"},
    {"wrapped_list", kApi, "list", 1, "the array comes as {key (finetunes): [...]}"},
    {"strings", kApi | kWebhook, "any", 1, "numbers and booleans come as strings"},
    {"set_field", kApi, "reads", 1, "field of the job reads value"},
    {"remove_field", kApi, "reads", 1, "the job lacks field"},
    {"other_id", kApi, "submit", 1,
     "acts, the answer names job (or the newest) in place of its own"},
    {"retired", kApi, "submit", -1, "410 to every submit"},
    {"no_credits", kApi, "any", -1, "406 to every submit, no credits left"},
    {"key_revoked", kApi, "any", -1, "401 to every call"},
    {"storage_403", kStorage, "any", 1, "403 with S3's XML (AccessDenied)"},
    {"storage_500", kStorage, "any", 1, "500 with S3's XML (InternalError)"},
    {"storage_error", kStorage, "any", 1,
     "s3_code (EntityTooLarge) in S3's XML with its code, or code"},
    {"content", kStorage, "storage_get", 1, "200 with content (html) in place of the file"},
    {"slow_storage", kStorage, "any", 1, "bodies at bytes_per_second"},
    {"short_body", kStorage, "storage_get", 1, "the body breaks off after bytes or fraction"},
    {"redirect_to", kStorage, "storage_get", 1, "answers code (302) with Location url"},
    {"webhook_duplicate", kWebhook, "webhook", 1, "posted times (2) times"},
    {"webhook_late", kWebhook, "webhook", 1, "posted ms later than due"},
    {"webhook_reordered", kWebhook, "webhook", 1, "posted after the job's next event"},
    {"webhook_lost", kWebhook, "webhook", 1, "never posted"},
    {"fail", kLifecycle, "lifecycle", 1, "the job FAILS on entering stage, with message"},
    {"stick", kLifecycle, "lifecycle", 1, "the job stays in stage"},
    {"retried", kLifecycle, "lifecycle", 1, "the job is RETRIED and QUEUED again instead of stage"},
};

constexpr const char* kApiCalls[] = {"submit",        "details",       "list",   "upload_url",
                                     "access_update", "file_download", "credits"};
constexpr const char* kStorageCalls[] = {"storage_put", "storage_get", "weights_get",
                                         "dataset_get"};

const Kind* FindKind(const std::string& name) {
  for (const Kind& kind : kKinds) {
    if (name == kind.name) return &kind;
  }
  return nullptr;
}

unsigned WhereOf(const std::string& call) {
  if (std::find(std::begin(kApiCalls), std::end(kApiCalls), call) != std::end(kApiCalls)) {
    return kApi;
  }
  if (std::find(std::begin(kStorageCalls), std::end(kStorageCalls), call) !=
      std::end(kStorageCalls)) {
    return kStorage;
  }
  if (call == "reads") return kApi;
  return call == "webhook" ? kWebhook : call == "lifecycle" ? kLifecycle : 0;
}

using Parameter =
    std::variant<double Fault::*, int64_t Fault::*, bool Fault::*, std::string Fault::*>;

const std::map<std::string, Parameter>& Parameters() {
  static const auto* const parameters = new std::map<std::string, Parameter>{
      {"call", &Fault::call},
      {"kind", &Fault::kind},
      {"count", &Fault::count},
      {"after", &Fault::after},
      {"probability", &Fault::probability},
      {"job", &Fault::job},
      {"stage", &Fault::stage},
      {"ms", &Fault::ms},
      {"jitter_ms", &Fault::jitter_ms},
      {"seconds", &Fault::seconds},
      {"code", &Fault::code},
      {"bytes", &Fault::bytes},
      {"fraction", &Fault::fraction},
      {"list_calls", &Fault::list_calls},
      {"times", &Fault::times},
      {"bytes_per_second", &Fault::bytes_per_second},
      {"reset", &Fault::reset},
      {"content_type", &Fault::content_type},
      {"status", &Fault::status},
      {"field", &Fault::field},
      {"message", &Fault::message},
      {"url", &Fault::url},
      {"key", &Fault::key},
      {"encoding", &Fault::encoding},
      {"repeat", &Fault::repeat},
      {"shape", &Fault::shape},
      {"s3_code", &Fault::s3_code},
      {"content", &Fault::content},
      {"retry_after", &Fault::retry_after},
  };
  return *parameters;
}

std::optional<std::string> SetParameter(const std::string& name, const Parameter& parameter,
                                        const rapidjson::Value& value, Fault* fault) {
  if (const auto* text = std::get_if<std::string Fault::*>(&parameter)) {
    if (!value.IsString()) return absl::StrCat(name, " must be a string");
    fault->*(*text) = std::string(value.GetString(), value.GetStringLength());
  } else if (const auto* flag = std::get_if<bool Fault::*>(&parameter)) {
    if (!value.IsBool()) return absl::StrCat(name, " must be true or false");
    fault->*(*flag) = value.GetBool();
  } else if (const auto* whole = std::get_if<int64_t Fault::*>(&parameter)) {
    if (!value.IsInt64()) return absl::StrCat(name, " must be a whole number");
    fault->*(*whole) = value.GetInt64();
  } else {
    if (!value.IsNumber() || value.GetDouble() < 0) {
      return absl::StrCat(name, " must be a number of at least 0");
    }
    fault->*std::get<double Fault::*>(parameter) = value.GetDouble();
  }
  return std::nullopt;
}

std::optional<std::string> SetOther(const std::string& name, const rapidjson::Value& value,
                                    Fault* fault) {
  if (name == "body") {
    fault->body =
        value.IsString() ? std::string(value.GetString(), value.GetStringLength()) : ToText(value);
  } else if (name == "value") {
    fault->value_json = ToText(value);
  } else if (name == "act") {
    if (!value.IsBool()) return "act must be true or false";
    fault->act = value.GetBool();
  } else if (name == "content_length") {
    const std::string choice = value.IsString() ? value.GetString() : "";
    if (choice != "cut" && choice != "full") return "content_length must be cut or full";
    fault->full_content_length = choice == "full";
  } else if (name == "headers") {
    if (!value.IsObject()) return "headers must be an object";
    for (const auto& header : value.GetObject()) {
      if (!header.value.IsString()) return "headers must be strings";
      fault->headers[header.name.GetString()] = header.value.GetString();
    }
  } else if (name != "id" && name != "spoilt") {  // FaultText() shows them, so they may come back.
    return absl::StrCat("a fault has no parameter ", name);
  }
  return std::nullopt;
}

bool IsAmong(const std::string& word, const std::vector<std::string>& words) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

std::optional<std::string> CheckFault(const Fault& fault) {
  if (fault.kind == "redirect_to" && fault.url.empty()) return "redirect_to needs url";
  if (fault.kind == "slow_storage" && fault.bytes_per_second <= 0) {
    return "slow_storage needs bytes_per_second";
  }
  if ((fault.kind == "set_field" || fault.kind == "remove_field") && fault.field.empty()) {
    return absl::StrCat(fault.kind, " needs field");
  }
  if (fault.kind == "set_field" && fault.value_json.empty()) return "set_field needs value";
  const int lowest = fault.kind == "interim" ? 100 : 200;
  if (fault.code != 0 && (fault.code < lowest || fault.code > 599)) {
    return absl::StrCat("code must be from ", lowest, " to 599");
  }
  if (fault.kind == "raw" && !fault.body) return "raw needs body";
  if (fault.kind == "headers" && fault.headers.empty()) return "headers needs headers";
  if (!fault.shape.empty() && !IsAmong(fault.shape, ErrorShapes())) {
    return absl::StrCat("shape must be one of ", absl::StrJoin(ErrorShapes(), ", "));
  }
  if (!fault.content.empty() && !IsAmong(fault.content, FileContents())) {
    return absl::StrCat("content must be one of ", absl::StrJoin(FileContents(), ", "));
  }
  if (fault.count == 0 || fault.count < -1) return "count must be -1 or at least 1";
  return std::nullopt;
}

bool CallMatches(const Fault& fault, const CallSubject& subject) {
  const unsigned where = WhereOf(subject.call);
  if ((FindKind(fault.kind)->where & where) == 0) return false;
  if (fault.call == "any") return where == kApi || where == kStorage;
  if (fault.call == "reads") return subject.call == "details" || subject.call == "list";
  if (fault.call == "storage_get") {
    return subject.call == "weights_get" || subject.call == "dataset_get";
  }
  return fault.call == subject.call;
}

bool Matches(const Fault& fault, const CallSubject& subject) {
  if (!CallMatches(fault, subject)) return false;
  if (!fault.stage.empty() && fault.stage != subject.stage) return false;
  // A list concerns all jobs: the fault picks the items by itself.
  // The other job of other_id has nothing to do with the one that is submitted.
  return fault.job.empty() || subject.call == "list" || fault.kind == "other_id" ||
         subject.text.find(fault.job) != std::string::npos;
}

}  // namespace

std::optional<std::string> ParseFault(const rapidjson::Value& object, Fault* fault) {
  if (!object.IsObject()) return "a fault must be an object";
  const std::optional<std::string> kind_name = StringMember(object, "kind");
  if (!kind_name) return "a fault needs kind; GET /emulator/faults/kinds lists them";
  const Kind* kind = FindKind(*kind_name);
  if (kind == nullptr) {
    return absl::StrCat("there is no kind ", *kind_name, "; GET /emulator/faults/kinds lists them");
  }
  fault->call = kind->default_call;
  fault->count = kind->default_count;
  for (const auto& member : object.GetObject()) {
    const std::string name = member.name.GetString();
    const auto parameter = Parameters().find(name);
    const std::optional<std::string> error =
        parameter != Parameters().end() ? SetParameter(name, parameter->second, member.value, fault)
                                        : SetOther(name, member.value, fault);
    if (error) return error;
  }
  // The delay concerns the job from the moment it is taken, whichever call is named.
  if (fault->kind == "list_delay") fault->call = "submit";
  if (fault->call != "any" && (WhereOf(fault->call) & kind->where) == 0) {
    return absl::StrCat(fault->kind, " cannot spoil call ", fault->call);
  }
  return CheckFault(*fault);
}

std::string FaultText(const Fault& fault) {
  ObjectText text;
  text.Add("id", fault.id).Add("spoilt", fault.spoilt);
  const Fault plain;
  for (const auto& [name, parameter] : Parameters()) {
    std::visit(
        [&, &name = name](auto member) {
          using Type = std::decay_t<decltype(fault.*member)>;
          if (fault.*member == plain.*member && name != "count") return;
          if constexpr (std::is_same_v<Type, std::string>) {
            text.Add(name, fault.*member);
          } else if constexpr (std::is_same_v<Type, bool>) {
            text.AddBool(name, fault.*member);
          } else {
            text.AddNumber(name, static_cast<double>(fault.*member));
          }
        },
        parameter);
  }
  if (fault.act) text.AddBool("act", *fault.act);
  if (fault.body) text.Add("body", *fault.body);
  if (!fault.value_json.empty()) text.AddRaw("value", fault.value_json);
  if (fault.full_content_length) text.Add("content_length", "full");
  if (!fault.headers.empty()) {
    ObjectText headers;
    for (const auto& [name, value] : fault.headers) headers.Add(name, value);
    text.AddRaw("headers", headers.Text());
  }
  return text.Text();
}

std::string FaultHelp() {
  std::string text;
  for (const Kind& kind : kKinds) {
    const std::string name = kind.name;
    absl::StrAppend(&text, name, std::string(name.size() < 20 ? 20 - name.size() : 1, ' '),
                    kind.help, " [call ", kind.default_call, ", count ", kind.default_count, "]\n");
  }
  absl::StrAppend(&text, "\nshape: ", absl::StrJoin(ErrorShapes(), ", "),
                  "\ncontent: ", absl::StrJoin(FileContents(), ", "), "\n");
  return text;
}

int64_t FaultBook::Add(Fault fault) {
  MutexLock lock(&mu_);
  fault.id = ++last_id_;
  faults_.push_back(std::move(fault));
  any_ = true;
  return last_id_;
}

bool FaultBook::Remove(int64_t id) {
  MutexLock lock(&mu_);
  const bool found = std::erase_if(faults_, [&](const Fault& f) { return f.id == id; }) > 0;
  any_ = !faults_.empty();
  return found;
}

void FaultBook::Clear() {
  MutexLock lock(&mu_);
  faults_.clear();
  any_ = false;
}

std::vector<Fault> FaultBook::All() const {
  MutexLock lock(&mu_);
  return faults_;
}

std::vector<Fault> FaultBook::Take(const CallSubject& subject) {
  std::vector<Fault> taken;
  if (!any()) return taken;
  MutexLock lock(&mu_);
  for (Fault& fault : faults_) {
    if (!Matches(fault, subject)) continue;
    if (fault.after > 0) {
      --fault.after;
      continue;
    }
    if (fault.probability < 1 &&
        std::uniform_real_distribution<double>(0, 1)(random_) >= fault.probability) {
      continue;
    }
    if (fault.count > 0) --fault.count;
    ++fault.spoilt;
    taken.push_back(fault);
  }
  std::erase_if(faults_, [](const Fault& fault) { return fault.count == 0; });
  any_ = !faults_.empty();
  return taken;
}

}  // namespace finetune::emulator
