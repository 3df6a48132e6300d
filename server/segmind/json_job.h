#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "server/json/json.h"
#include "server/segmind/scrubber.h"
#include "server/segmind/upstream_job.h"

namespace finetune {

// The pair of conversions between a job and Segmind's JSON. Reading is lenient: nulls, missing and
// extra members and wrong types cost that member only. Writing is exact: it spends money.

// A job's object, of any of the answers; nullopt if it is no object, or has no id that can name
// something. `scrubber` cleans all texts: they are kept and shown.
std::optional<UpstreamJob> JobOf(const JsonValue& object, const Scrubber& scrubber);
// The same into `job`, which is new. False if there is none; `job` is good for nothing then.
bool ReadJob(const JsonValue& object, const Scrubber& scrubber, UpstreamJob& job);

// Only the UpstreamJob::id that JobOf would give for this text, mostly without making a tree of it;
// empty if it would give no job. Nullopt if it cannot be parsed; the parser then knows why.
std::optional<std::string> JobIdOf(std::string_view text, JsonParser& parser,
                                   const Scrubber& scrubber);

// The job in an answer about one job: the object itself, or what it has under `finetune`. Nullopt
// if that has no id.
std::optional<UpstreamJob> JobInAnswer(const JsonValue& answer, const Scrubber& scrubber);

// The body of a submit. Fields that are not set are left out.
std::string SubmitBody(const pb::FineTune& fine_tune, std::string_view upstream_name);

}  // namespace finetune
