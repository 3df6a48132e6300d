#pragma once

#include <gtest/gtest.h>

#include "server/base/error.h"
#include "server/base/metrics.h"
#include "server/segmind/segmind_client.h"
#include "server/service/transfers/transfers.h"
#include "tests/base/manual_clock.h"
#include "tests/http/fake_http_client.h"
#include "tests/http/fake_streamer.h"

namespace finetune {

// Transfers without a network: Segmind's answers are scripted, storage's are given by hand.
class TransferRig : public ::testing::Test {
 protected:
  ManualClock clock_;
  FakeHttpClient http_;
  FakeKeySource key_{{"key"}};
  Metrics metrics_;
  SegmindClient segmind_{{}, http_, key_, clock_, metrics_};
  FakeStreamer streamer_;
  Transfers transfers_{{.idle_timeout = absl::Seconds(60), .least_bytes_per_second = 100},
                       segmind_,
                       streamer_,
                       clock_,
                       metrics_};
};

}  // namespace finetune
