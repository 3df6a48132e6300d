#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "server/jobs/record/merge.h"
#include "server/jobs/record/recorder.h"

namespace finetune {

// The steps of a submission's life in the record, shared by the Submitter (which posts) and the
// Tracker (which finds out). Each works within one mutation; see record.proto for the states.
//
//   PREPARED ──▶ ACCEPTED            the answer, or a list, shows the job
//      │  └────▶ UNKNOWN ──▶ ACCEPTED   found in a list
//      ▼            └──────▶ NOT_SUBMITTED   absent from enough lists
//                              └──▶ ACCEPTED    found after all
//   deleted: refused, or never sent

// The record of the job that an answer of Segmind's is about. A job's other name counts only where
// nothing better is known: it may be shared, as an account's would be.
std::optional<record::FineTuneRecord> FindRecordOf(Draft& draft, const UpstreamJob& job);

// Makes the submission's job visible as SUBMIT_UNKNOWN unless it is visible already.
void ShowUnknown(Draft& draft, const record::Intent& intent);

// The outcome is not known, for the reason `why`: the job becomes visible as such, and the search
// begins with reads of Segmind that are newer than `read` (Catalog::NextRead).
void BecomeUnknown(Draft& draft, record::Intent intent, std::string_view why, uint64_t read);

// Segmind has the job: it goes on under the submission's name. Returns its id, which differs from
// the intent's only when the job was visible under another name before and the submission's was
// not. Nullopt, with nothing done, if Segmind's id names a job that cannot be this submission's:
// another one's, or one that was there before.
std::optional<std::string> Accept(Draft& draft, record::Intent intent, const Reading& reading);

// A job that is visible as one from elsewhere has the marker that this very submission would have,
// so the submission was made before and the record has lost it, as after a backup was restored.
// Whether the job becomes the submission's; it does not if it asks for something else.
bool AcceptLost(Draft& draft, record::Intent& intent);

// Segmind turns out to have the job of a submission that was given up, or to call it by another id
// than its answer did. The request_id leads to it again, unless that has made another attempt
// since.
absl::Status Reinstate(Draft& draft, record::FineTuneRecord record, const Reading& reading);

// Segmind does not have it; `why` says why. If the job was never visible, everything about it is
// forgotten; otherwise it is FAILED with NOT_SUBMITTED. Either way the request_id may submit again.
// Callers that wait for a job which was never visible are told `why`, in whichever process.
void Abandon(Draft& draft, record::Intent intent, const absl::Status& why,
             pb::StateTransition::Source source);

}  // namespace finetune
