#pragma once

#include <string>
#include <string_view>

#include "server/json/json.h"
#include "server/segmind/scrubber.h"

namespace finetune {

// Whose words a body holds.
enum class BodyKind {
  kError,  // Segmind's own: a JSON object that says what is wrong, in a shape that is in use.
  kJson,   // Other JSON.
  kPage,   // HTML or XML: from something in front of Segmind.
  kText,
  kCut,  // It begins as JSON and is none, or is too long for an error.
  kEmpty,
};

// What a body that comes with an error's HTTP code says.
struct ErrorBody {
  BodyKind kind = BodyKind::kEmpty;
  // One line of at most 300 bytes, without control characters and credentials; empty for a page.
  // The texts under `error`, `detail`, `errors`, `message`, `msg`, `reason`, `title` and so on.
  std::string words;
  // A word for machines, such as `insufficient_credits`, in lower case with `_`; mostly empty.
  std::string code;
  // It names a job by `finetune_id`: no refusal to make one.
  bool names_job = false;
};

ErrorBody ReadErrorBody(std::string_view body, const Scrubber& scrubber);

// Whether a member of an answer's object says that it went wrong, whatever its HTTP code: some
// services answer 200 with `"success":false`.
bool IsComplaint(std::string_view name, const JsonValue& value);

// `text` without what is as good as a key: API keys, bearer tokens, signatures of URLs.
std::string WithoutCredentials(std::string_view text, const Scrubber& scrubber);

}  // namespace finetune
