#include "tests/emulator/distort.h"

#include <algorithm>
#include <functional>
#include <random>

#include "absl/strings/str_cat.h"
#include "tests/emulator/encoding.h"
#include "tests/emulator/json.h"
#include "tests/emulator/storage_door.h"
#include "tests/emulator/wire.h"

namespace finetune::emulator {
namespace {

using rapidjson::Document;
using rapidjson::Value;

constexpr const char* kOrder[] = {
    "REQUESTED",          "QUEUED",           "DATA_PROCESSING", "TRAINING_INITIATED",
    "TRAINING_COMPLETED", "INFERENCE_QUEUED", "DEPLOYING",       "AVAILABLE"};

bool Selected(const Value& item, const std::string& job) {
  if (job.empty()) return true;
  for (const char* name : {"id", "finetune_id", "request_id"}) {
    if (StringMember(item, name) == job) return true;
  }
  return StringMember(item, "name").value_or("").find(job) != std::string::npos;
}

// The array of jobs in a list, bare or wrapped; null if the body is none.
Value* ListIn(Document* document) {
  if (document->IsArray()) return document;
  if (!document->IsObject()) return nullptr;
  if (!document->HasMember("finetunes") || !(*document)["finetunes"].IsArray()) return nullptr;
  return &(*document)["finetunes"];
}

// Calls `change` on each job in a body of any of the shapes.
void ForEachJob(Document* document, const std::string& job,
                const std::function<void(Value*)>& change) {
  if (Value* list = ListIn(document)) {
    for (Value& item : list->GetArray()) {
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
  Value* list = ListIn(document);
  if (list == nullptr) return;
  for (auto it = list->Begin(); it != list->End();) {
    if (!Selected(*it, job)) {
      ++it;
      continue;
    }
    it = list->Erase(it);
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

// Puts the body into a content coding, the whole of it into memory.
void Encode(const Fault& fault, Answer* answer) {
  constexpr int64_t kGiB = 1 << 30;
  const bool bomb = fault.kind == "gzip_bomb";
  const std::string coding = bomb || fault.encoding.empty() ? "gzip" : fault.encoding;
  const std::string body = BodyText(*answer);
  answer->text = std::make_shared<const std::string>(
      bomb ? GzipBomb(body, fault.bytes >= 0 ? fault.bytes : kGiB) : Encoded(body, coding));
  answer->source = nullptr;
  answer->headers.emplace_back("Content-Encoding", coding);
}

// What is written past HTTP around the answer.
std::shared_ptr<const WireScript> ScriptOf(const Fault& fault, const Answer& answer) {
  auto script = std::make_shared<WireScript>();
  script->repeat = fault.repeat;
  script->repeat_bytes = fault.bytes >= 0 ? fault.bytes : kEndless;
  if (fault.ms > 0) script->longest = std::chrono::milliseconds(static_cast<int64_t>(fault.ms));
  if (fault.kind == "interim") {
    const int64_t code = fault.code != 0 ? fault.code : 103;
    script->repeat = absl::StrCat("HTTP/1.1 ", code, " Emulated\r\n\r\n");
    script->repeat_bytes = script->repeat.size() * std::max<int64_t>(fault.times, 0);
    script->tail = WireText(answer);
    return script;
  }
  if (script->repeat.empty()) script->repeat = "x-filler: " + std::string(1000, 'a') + "\r\n";
  script->head = WireHead(answer);
  if (fault.kind == "endless_trailers") {
    const std::string body = BodyText(answer);
    absl::StrAppend(&script->head, "Transfer-Encoding: chunked\r\n\r\n");
    if (!body.empty()) absl::StrAppend(&script->head, absl::Hex(body.size()), "\r\n", body, "\r\n");
    absl::StrAppend(&script->head, "0\r\n");
  }
  script->tail = "\r\n";
  return script;
}

bool IsWireKind(const std::string& kind) {
  return kind == "interim" || kind == "endless_headers" || kind == "endless_trailers";
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
    } else if (kind == "headers") {
      for (const auto& header : fault.headers) answer->headers.emplace_back(header);
    } else if (kind == "encoded" || kind == "gzip_bomb") {
      Encode(fault, answer);
    } else if (kind == "chunked") {
      answer->headers.emplace_back("Transfer-Encoding", "chunked");
    } else if (IsWireKind(kind)) {
      answer->wire = ScriptOf(fault, *answer);
    } else if (kind == "slow_storage") {
      answer->bytes_per_second = fault.bytes_per_second;
      // An upload is taken as fast as it comes; what is slow is the answer.
      if (call == "storage_put") {
        const std::string length = request.Header("content-length").value_or("0");
        answer->delay += std::chrono::milliseconds(
            static_cast<int64_t>(1000 * std::atof(length.c_str()) / fault.bytes_per_second));
      }
    } else if (answer->code == 200 && answer->text != nullptr && !IsStorageCall(call)) {
      answer->text = std::make_shared<const std::string>(DistortBody(fault, *answer->text));
    }
  }
}

}  // namespace finetune::emulator
