#pragma once

#include <string>

#include "absl/time/time.h"
#include "server/segmind/upstream_job.h"
#include "server/store/record.pb.h"

namespace finetune {

// One job as one read of Segmind showed it.
struct Reading {
  const UpstreamJob& job;
  // Its number (Catalog::NextRead): what it shows is newer than what smaller ones show.
  uint64_t read = 0;
  // A number taken when it had ended: what it shows may be as new as that.
  uint64_t ended = 0;
  // When it began, by the time of day: to be shown.
  absl::Time time;
  pb::StateTransition::Source source = pb::StateTransition::POLL;
  // Made to check what a list said about a job that had ended: it is believed.
  bool confirmed = false;
};

enum class Joined {
  kFresh,
  // The record rests on a newer read. Only what the record lacked was taken.
  kStale,
  // It says that a job which had ended has another state now. Only what the record lacked
  // was taken; a details read, with `confirmed`, has to say so, too.
  kDoubtful,
};

// Joins a reading into the record. What the reading lacks stays as it was; what the caller asked
// for (name, data, prompt, parameters; see record.request_id), labels and creator always stay. An
// unknown word for the state is shown with its message, and the state stays. A job whose words were
// never known has STATE_UNSPECIFIED, which is not terminal.
Joined Join(const Reading& reading, record::FineTuneRecord& record);

// The record of a job that was made elsewhere.
record::FineTuneRecord ForeignRecord(const std::string& id, const Reading& reading);

// The id of a job that was made elsewhere: Segmind's own if it can be part of a resource name, or
// else a UUID derived from it.
std::string ForeignId(const std::string& upstream_id);
// The second choice: always the derived one.
std::string DerivedId(const std::string& upstream_id);

// Moves the record to a state and a word of Segmind's, and notes the transition if either is new.
// The first transition and the latest are kept, 100 in all.
void MoveTo(pb::FineTune::State state, const std::string& upstream_status, absl::Time time,
            pb::StateTransition::Source source, record::FineTuneRecord& record);

// Whether a job in this state has been trained.
bool HasWeights(pb::FineTune::State state);

// Whether Segmind's current word for the job's state is unknown here.
bool HasUnknownWord(const pb::FineTune& fine_tune);

// Whether the job is FAILED because Segmind never had it, as far as could be found out.
bool WasNotSubmitted(const pb::FineTune& fine_tune);

}  // namespace finetune
