#include "tests/emulator/distort.h"

#include <algorithm>
#include <ctime>
#include <functional>
#include <random>

#include "absl/strings/str_cat.h"
#include "tests/emulator/job.h"
#include "tests/emulator/json.h"

namespace finetune::emulator {
namespace {

using rapidjson::Document;
using rapidjson::Value;

constexpr const char* kOrder[] = {
    "REQUESTED",          "QUEUED",           "DATA_PROCESSING", "TRAINING_INITIATED",
    "TRAINING_COMPLETED", "INFERENCE_QUEUED", "DEPLOYING",       "AVAILABLE"};

bool IsStorage(const std::string& call) {
  return call == "storage_put" || call == "weights_get" || call == "dataset_get";
}

bool Selected(const Value& item, const std::string& job) {
  if (job.empty()) return true;
  for (const char* name : {"id", "finetune_id", "request_id"}) {
    if (StringMember(item, name) == job) return true;
  }
  return StringMember(item, "name").value_or("").find(job) != std::string::npos;
}

// Calls `change` on each job in a body of any of the shapes.
void ForEachJob(Document* document, const std::string& job,
                const std::function<void(Value*)>& change) {
  if (document->IsArray()) {
    for (Value& item : document->GetArray()) {
      if (item.IsObject() && Selected(item, job)) change(&item);
    }
  } else if (document->IsObject()) {
    Value* item = document;
    if (document->HasMember("finetune") && (*document)["finetune"].IsObject()) {
      item = &(*document)["finetune"];
    }
    if (Selected(*item, job)) change(item);
  }
}

void SetMember(Value* object, const std::string& name, Value value, Document* document) {
  auto& allocator = document->GetAllocator();
  object->RemoveMember(name.c_str());
  object->AddMember(Value(name.c_str(), allocator), value, allocator);
}

void Stringify(Value* value, Document* document) {
  if (value->IsArray()) {
    for (Value& item : value->GetArray()) Stringify(&item, document);
  } else if (value->IsObject()) {
    for (auto it = value->MemberBegin(); it < value->MemberEnd(); ++it) {
      Stringify(&it->value, document);
    }
  } else if (value->IsBool()) {
    value->SetString(rapidjson::StringRef(value->GetBool() ? "True" : "False"));
  } else if (value->IsNumber()) {
    const std::string text = ToText(*value);
    value->SetString(text.c_str(), text.size(), document->GetAllocator());
  }
}

void Vanish(Document* document, const std::string& job) {
  if (!document->IsArray()) return;
  for (auto it = document->Begin(); it != document->End();) {
    if (!Selected(*it, job)) {
      ++it;
      continue;
    }
    it = document->Erase(it);
    if (job.empty()) return;  // The newest only.
  }
}

void ChangeStatus(const Fault& fault, Document* document) {
  ForEachJob(document, fault.job, [&](Value* item) {
    const std::string old = StringMember(*item, "status").value_or("");
    const std::string word = !fault.status.empty()            ? fault.status
                             : fault.kind == "unknown_status" ? "QUALITY_REVIEW"
                                                              : EarlierStatus(old);
    for (const char* name : {"status", "event"}) {
      if (name == std::string_view("event") && Member(*item, name) == nullptr) continue;
      SetMember(item, name, Value(word.c_str(), document->GetAllocator()), document);
    }
  });
}

uint64_t CutAt(const Fault& fault, uint64_t size) {
  if (fault.bytes >= 0) return std::min<uint64_t>(fault.bytes, size);
  return static_cast<uint64_t>(static_cast<double>(size) * std::min(fault.fraction, 1.0));
}

Answer RateLimited(const Fault& fault) {
  Answer answer = ErrorAnswer(429, "Rate limit exceeded. Please try again later");
  const double seconds = fault.seconds > 0 ? fault.seconds : 60;
  const WallTime reset =
      std::chrono::system_clock::now() + std::chrono::milliseconds(int64_t(seconds * 1000));
  answer.headers.emplace_back("x-rate-limit-reset-at-utc", TimeText(reset, false));
  return answer;
}

Answer StatusAnswer(const Fault& fault, const std::string& call, int default_code) {
  const int code = fault.code != 0 ? static_cast<int>(fault.code) : default_code;
  Answer answer;
  if (fault.body) {
    answer = TextAnswer(code, "application/json", *fault.body);
  } else if (IsStorage(call)) {
    answer = XmlAnswer(code, code == 403 ? "AccessDenied" : "InternalError", "Injected fault");
  } else {
    answer = ErrorAnswer(code, fault.message.empty() ? "Internal Server Error" : fault.message);
  }
  if (!fault.content_type.empty()) answer.content_type = fault.content_type;
  for (const auto& header : fault.headers) answer.headers.emplace_back(header);
  return answer;
}

// The answer that this fault alone puts in place of the real one, and whether the call acts.
struct Instead {
  std::optional<Answer> answer;
  bool act = true;
};

Instead InsteadOf(const Fault& fault, const std::string& call) {
  const std::string& kind = fault.kind;
  const bool submit = call == "submit";
  if (kind == "status") return {StatusAnswer(fault, call, 500), fault.act.value_or(false)};
  if (kind == "error_after") return {StatusAnswer(fault, call, 502), true};
  if (kind == "html") {
    return {HtmlAnswer(fault.code ? static_cast<int>(fault.code) : 502), fault.act.value_or(false)};
  }
  if (kind == "rate_limited") return {RateLimited(fault), false};
  if (kind == "retired" && (submit || fault.call == call)) {
    return {ErrorAnswer(410, "Finetuning has been deprecated and takes no new requests"), false};
  }
  if (kind == "no_credits" && submit) {
    return {ErrorAnswer(406, "Insufficient credits. Please add credits to your account"), false};
  }
  if (kind == "no_credits" && call == "credits") {
    return {JsonAnswer(R"({"credits":0,"free-credits":0})"), false};
  }
  if (kind == "key_revoked") {
    return {ErrorAnswer(401, "Unauthorized. API key is invalid or may have expired..."), false};
  }
  if (kind == "storage_403") return {XmlAnswer(403, "AccessDenied", "Access Denied"), false};
  if (kind == "storage_500") {
    return {XmlAnswer(500, "InternalError", "We encountered an internal error"), false};
  }
  if (kind == "redirect_to") {
    Answer answer = TextAnswer(fault.code ? static_cast<int>(fault.code) : 302, "text/html", "");
    answer.headers.emplace_back("Location", fault.url);
    return {std::move(answer), false};
  }
  if (kind == "vanish" && call == "details") {
    return {ErrorAnswer(404, "Finetune request not found"), false};
  }
  if (kind == "close_before") {
    Answer answer;
    answer.close = true;
    return {std::move(answer), false};
  }
  return {std::nullopt, fault.act.value_or(true)};
}

void DelayAnswer(const Fault& fault, Answer* answer) {
  double ms = fault.ms;
  if (fault.jitter_ms > 0) {
    thread_local std::mt19937_64 random{std::random_device{}()};
    ms += std::uniform_real_distribution<double>(0, fault.jitter_ms)(random);
  }
  answer->delay += std::chrono::milliseconds(static_cast<int64_t>(ms));
}

void StallAnswer(const Fault& fault, Answer* answer) {
  const auto stall =
      std::chrono::milliseconds(static_cast<int64_t>(fault.ms > 0 ? fault.ms : 60000));
  if (fault.bytes >= 0) {
    answer->break_after = std::min<uint64_t>(fault.bytes, answer->body_size());
    answer->stall = stall;
  } else {
    answer->delay += stall;
    answer->close = true;
  }
}

}  // namespace

std::string EarlierStatus(std::string_view status) {
  const auto* it = std::find(std::begin(kOrder), std::end(kOrder), status);
  if (it == std::end(kOrder)) return "QUEUED";
  return it - std::begin(kOrder) >= 2 ? *(it - 2) : kOrder[0];
}

std::string DistortBody(const Fault& fault, const std::string& body) {
  const std::string& kind = fault.kind;
  if (kind == "empty") return "";
  if (kind == "malformed") {
    if (fault.body) return *fault.body;
    std::string broken = body;
    const size_t colon = broken.find(':');
    return colon == std::string::npos ? "{" + broken : broken.erase(colon, 1);
  }
  std::optional<Document> document = ParseJson(body);
  if (!document) return body;
  if (kind == "strings") {
    Stringify(&*document, &*document);
  } else if (kind == "vanish") {
    Vanish(&*document, fault.job);
  } else if (kind == "wrapped_list") {
    return ObjectText().AddRaw(fault.key.empty() ? "finetunes" : fault.key, body).Text();
  } else if (kind == "unknown_status" || kind == "status_backwards") {
    ChangeStatus(fault, &*document);
  } else if (kind == "set_field") {
    const std::optional<Document> value = ParseJson(fault.value_json);
    ForEachJob(&*document, fault.job, [&](Value* item) {
      SetMember(item, fault.field, Value(*value, document->GetAllocator()), &*document);
    });
  } else if (kind == "remove_field") {
    ForEachJob(&*document, fault.job,
               [&](Value* item) { item->RemoveMember(fault.field.c_str()); });
  } else {
    return body;
  }
  return ToText(*document);
}

std::optional<Answer> AnswerInstead(const std::vector<Fault>& faults, const std::string& call) {
  for (const Fault& fault : faults) {
    Instead instead = InsteadOf(fault, call);
    if (instead.answer) return std::move(instead.answer);
  }
  return std::nullopt;
}

bool MayAct(const std::vector<Fault>& faults, const std::string& call) {
  return std::all_of(faults.begin(), faults.end(),
                     [&](const Fault& fault) { return InsteadOf(fault, call).act; });
}

void Distort(const std::vector<Fault>& faults, const std::string& call, const Request& request,
             Answer* answer) {
  for (const Fault& fault : faults) {
    const std::string& kind = fault.kind;
    if (kind == "latency") {
      DelayAnswer(fault, answer);
    } else if (kind == "lost_answer" || kind == "close_before") {
      answer->close = true;
      answer->reset = fault.reset;
    } else if (kind == "stall") {
      StallAnswer(fault, answer);
    } else if (kind == "partial" || kind == "short_body" ||
               (kind == "truncated" && fault.full_content_length)) {
      answer->break_after = CutAt(fault, answer->body_size());
    } else if (kind == "truncated" && answer->text != nullptr) {
      const std::string& text = *answer->text;
      answer->text = std::make_shared<const std::string>(text.substr(0, CutAt(fault, text.size())));
    } else if (kind == "truncated") {
      answer->length = CutAt(fault, answer->length);
    } else if (kind == "slow_storage") {
      answer->bytes_per_second = fault.bytes_per_second;
      // An upload is taken as fast as it comes; what is slow is the answer.
      if (call == "storage_put") {
        const std::string length = request.Header("content-length").value_or("0");
        answer->delay += std::chrono::milliseconds(
            static_cast<int64_t>(1000 * std::atof(length.c_str()) / fault.bytes_per_second));
      }
    } else if (answer->code == 200 && answer->text != nullptr && !IsStorage(call)) {
      answer->text = std::make_shared<const std::string>(DistortBody(fault, *answer->text));
    }
  }
}

}  // namespace finetune::emulator
