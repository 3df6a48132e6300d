#include "tests/emulator/instead.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

#include "absl/strings/str_cat.h"
#include "tests/emulator/bodies.h"
#include "tests/emulator/storage_door.h"
#include "tests/emulator/times.h"
#include "tests/emulator/wire.h"

namespace finetune::emulator {
namespace {

// What an answer may depend on beside the fault.
struct Occasion {
  const std::string& call;
  const Settings& settings;
};

int CodeOr(const Fault& fault, int code) {
  return fault.code != 0 ? static_cast<int>(fault.code) : code;
}

void AddHeaders(const Fault& fault, const Settings& settings, Answer* answer) {
  const double seconds = fault.seconds > 0 ? fault.seconds : 60;
  std::string retry = fault.retry_after;
  if (retry == "seconds") {
    retry = absl::StrCat(static_cast<int64_t>(std::ceil(seconds)));
  } else if (retry == "date") {
    retry =
        HttpDate(Shifted(std::chrono::system_clock::now(), settings.date_offset_seconds + seconds));
  }
  if (!retry.empty()) answer->headers.emplace_back("Retry-After", retry);
  for (const auto& header : fault.headers) answer->headers.emplace_back(header);
}

Answer RateLimited(const Fault& fault, const Occasion& occasion) {
  Answer answer = ErrorAnswer(CodeOr(fault, 429), "Rate limit exceeded. Please try again later");
  const double seconds = fault.seconds > 0 ? fault.seconds : 60;
  const WallTime reset =
      Shifted(std::chrono::system_clock::now(), occasion.settings.date_offset_seconds + seconds);
  if (fault.retry_after.empty()) {
    answer.headers.emplace_back("x-rate-limit-reset-at-utc", TimeText(reset, false));
  }
  AddHeaders(fault, occasion.settings, &answer);
  return answer;
}

Answer StatusAnswer(const Fault& fault, const Occasion& occasion, int default_code) {
  const int code = CodeOr(fault, default_code);
  const std::string words = fault.message.empty() ? "Internal Server Error" : fault.message;
  Answer answer;
  if (fault.body) {
    answer = TextAnswer(code, "application/json", *fault.body);
  } else if (!fault.shape.empty()) {
    answer = ShapedError(code, fault.shape, words, fault.field);
  } else if (IsStorageCall(occasion.call)) {
    answer = XmlAnswer(code, code == 403 ? "AccessDenied" : "InternalError", "Injected fault");
  } else {
    answer = ErrorAnswer(code, words);
  }
  if (!fault.content_type.empty()) answer.content_type = fault.content_type;
  AddHeaders(fault, occasion.settings, &answer);
  return answer;
}

Answer Redirect(const Fault& fault, const Occasion&) {
  Answer answer = TextAnswer(CodeOr(fault, 302), "text/html", "");
  answer.headers.emplace_back("Location", fault.url);
  return answer;
}

Answer Raw(const Fault& fault, const Occasion&) {
  auto script = std::make_shared<WireScript>();
  script->head = *fault.body;
  script->repeat = fault.repeat;
  script->repeat_bytes = fault.bytes >= 0 ? fault.bytes : kEndless;
  if (fault.ms > 0) script->longest = std::chrono::milliseconds(static_cast<int64_t>(fault.ms));
  Answer answer;
  answer.wire = std::move(script);
  return answer;
}

Answer OtherFile(const Fault& fault, const Occasion& occasion) {
  Answer answer = WrongFile(fault.content.empty() ? "html" : fault.content);
  if (!fault.content_type.empty()) answer.content_type = fault.content_type;
  AddHeaders(fault, occasion.settings, &answer);
  return answer;
}

Answer Html(const Fault& fault, const Occasion& occasion) {
  Answer answer = HtmlAnswer(CodeOr(fault, 502));
  AddHeaders(fault, occasion.settings, &answer);
  return answer;
}

Answer NoCredits(const Fault&, const Occasion& occasion) {
  if (occasion.call == "credits") return JsonAnswer(R"({"credits":0,"free-credits":0})");
  return ErrorAnswer(406, "Insufficient credits. Please add credits to your account");
}

// A kind that answers in place of the application.
struct Stand {
  Answer (*answer)(const Fault&, const Occasion&);
  bool acts = false;  // Unless the fault says otherwise.
  // Of the calls that the fault is for, those that it answers; null: all.
  bool (*answers)(const Fault&, const std::string& call) = nullptr;
};

const Stand* FindStand(const Fault& fault) {
  using Call = const std::string&;
  static const auto* const kinds = new std::map<std::string, Stand>{
      {"status", {[](const Fault& f, const Occasion& o) { return StatusAnswer(f, o, 500); }}},
      {"error_after",
       {[](const Fault& f, const Occasion& o) { return StatusAnswer(f, o, 502); }, true}},
      {"html", {Html}},
      {"rate_limited", {RateLimited}},
      {"retired",
       {[](const Fault&, const Occasion&) {
          return ErrorAnswer(410, "Finetuning has been deprecated and takes no new requests");
        },
        false, [](const Fault& f, Call call) { return call == "submit" || f.call == call; }}},
      {"no_credits",
       {NoCredits, false,
        [](const Fault&, Call call) { return call == "submit" || call == "credits"; }}},
      {"key_revoked", {[](const Fault&, const Occasion&) {
         return ErrorAnswer(401, "Unauthorized. API key is invalid or may have expired...");
       }}},
      {"storage_403",
       {[](const Fault&, const Occasion&) { return StorageError("AccessDenied", 0, ""); }}},
      {"storage_500",
       {[](const Fault&, const Occasion&) { return StorageError("InternalError", 0, ""); }}},
      {"storage_error", {[](const Fault& f, const Occasion&) {
         return StorageError(f.s3_code.empty() ? "EntityTooLarge" : f.s3_code, CodeOr(f, 0),
                             f.message);
       }}},
      {"redirect_to", {Redirect}},
      {"content", {OtherFile}},
      {"raw", {Raw}},
      {"vanish",
       {[](const Fault&, const Occasion&) {
          return ErrorAnswer(404, "Finetune request not found");
        },
        false, [](const Fault&, Call call) { return call == "details"; }}},
      {"close_before", {[](const Fault&, const Occasion&) {
         Answer answer;
         answer.close = true;
         return answer;
       }}},
  };
  const auto it = kinds->find(fault.kind);
  return it == kinds->end() ? nullptr : &it->second;
}

const Stand* StandFor(const Fault& fault, const std::string& call) {
  const Stand* kind = FindStand(fault);
  if (kind == nullptr) return nullptr;
  return kind->answers == nullptr || kind->answers(fault, call) ? kind : nullptr;
}

}  // namespace

std::optional<Answer> AnswerInstead(const std::vector<Fault>& faults, const std::string& call,
                                    const Settings& settings) {
  for (const Fault& fault : faults) {
    if (const Stand* kind = StandFor(fault, call)) return kind->answer(fault, {call, settings});
  }
  return std::nullopt;
}

bool MayAct(const std::vector<Fault>& faults, const std::string& call) {
  return std::all_of(faults.begin(), faults.end(), [&](const Fault& fault) {
    const Stand* kind = StandFor(fault, call);
    return fault.act.value_or(kind == nullptr || kind->acts);
  });
}

}  // namespace finetune::emulator
