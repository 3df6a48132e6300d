#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>

#include "server/jobs/tracking/reading_parts.h"
#include "tests/base/notification.h"
#include "tests/fakes/fake_segmind.h"
#include "tests/fakes/fixed_key.h"
#include "tests/jobs/store_fixture.h"

namespace finetune {

// What a reader of lists or of details talks to, and the tracker's thread.
class ReadingRig : public ::testing::Test {
 protected:
  ReadingRig() {
    SegmindClient::Options options;
    options.url = "http://segmind.test";
    client_ =
        std::make_unique<SegmindClient>(options, *connection_, key_, jobs_.clock, jobs_.metrics);
  }
  ~ReadingRig() override {
    worker_->Stop();
    connection_->Shutdown();
  }

  ReadingParts Parts() {
    return {.segmind = *client_,
            .recorder = recorder_,
            .catalog = jobs_.catalog,
            .clock = jobs_.clock,
            .metrics = metrics_,
            .upstream_clock = upstream_clock_,
            .pace = pace_,
            .missing = missing_,
            .candidates = candidates_,
            .refreshes = refreshes_};
  }
  // On the tracker's thread.
  void Do(const std::function<void()>& what) {
    Notification done;
    worker_->Post([&] {
      what();
      done.Notify();
    });
    done.WaitForNotification();
  }

  JobsFixture jobs_;
  LeaderRecorder recorder_{*jobs_.recorder};
  FixedKey key_;
  FakeSegmind segmind_{jobs_.clock};
  std::unique_ptr<HttpClient> connection_ = segmind_.Connect();
  std::unique_ptr<SegmindClient> client_;
  TrackingMetrics metrics_{jobs_.metrics};
  UpstreamClock upstream_clock_;
  Pace pace_{{.active_interval = absl::Seconds(15),
              .idle_interval = absl::Minutes(5),
              .settle_interval = absl::Seconds(5)}};
  MissingJobs missing_{jobs_.catalog};
  Candidates candidates_{absl::ZeroDuration()};
  RefreshCalls refreshes_{jobs_.catalog};
  std::shared_ptr<Worker> worker_ = std::make_shared<Worker>("tracker");
};

}  // namespace finetune
