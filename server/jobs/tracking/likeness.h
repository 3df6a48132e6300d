#pragma once

#include "server/jobs/record/marker.h"
#include "server/segmind/upstream_job.h"
#include "server/store/record.pb.h"

namespace finetune {

// How much a job at Segmind is like a submission whose outcome is not known. Everything that both
// have is weighed together: marker, name, prompt, data, model, trigger word and time. None of them
// decides alone, because Segmind may rewrite any of them, and somebody may clone a job there.
struct Likeness {
  MarkerTrace marker = MarkerTrace::kNone;
  // What speaks for it; see the table in likeness.cc.
  int score = 0;
  // Both have something, and it differs.
  bool contradicted = false;
  // The prompt or the data is the submission's.
  bool same_prompt = false;
  bool same_data = false;

  // It is another job.
  bool none = false;
  // It is the submission's job if no other one is as well. Never set for a job whose details were
  // not read.
  bool clear = false;
  // It would be clear if its time did not speak against it. Jobs may show the time of another clock
  // than the one that was compared with, or of another time zone.
  bool clear_but_for_time = false;
};

// `details_read`: whether `job` has what details tell, or whether that cannot be had.
Likeness LikenessOf(const record::Intent& intent, const UpstreamJob& job, bool details_read);

}  // namespace finetune
