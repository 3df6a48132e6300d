#pragma once

#include <string>

#include "server/base/clock.h"
#include "tests/fakes/fake_segmind.h"

namespace finetune {

// A job that Segmind has, and shows from now on.
inline void AddFakeJob(FakeSegmind& segmind, Clock& clock, const std::string& id,
                       const std::string& status = "TRAINING") {
  FakeJob job;
  job.id = id;
  job.name = "job " + id;
  job.data_source = "https://data.test/" + id;
  job.prompt = "prompt of " + id;
  job.status = status;
  job.created = job.visible = clock.Now();
  segmind.Add(job);
}

}  // namespace finetune
