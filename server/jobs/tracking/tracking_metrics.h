#pragma once

#include "absl/time/time.h"
#include "server/base/metrics.h"

namespace finetune {

// What the Tracker counts. Thread-safe.
class TrackingMetrics {
 public:
  explicit TrackingMetrics(Metrics& metrics)
      : polls_changed_(Polls(metrics, "changed")),
        polls_unchanged_(Polls(metrics, "unchanged")),
        polls_failed_(Polls(metrics, "failed")),
        observe_time_(metrics.Gauge("finetune_gateway_observe_timestamp_seconds",
                                    "When the read of Segmind began that the view includes.")),
        unsettled_(metrics.Gauge("finetune_gateway_unsettled_submissions",
                                 "Submissions whose outcome is not known.")),
        undecided_(metrics.Gauge("finetune_gateway_submissions_undecided",
                                 "Submissions whose outcome cannot be told by all that Segmind "
                                 "shows: see the audit log for what each may be.")),
        markers_missing_(metrics.Counter("finetune_gateway_markers_missing_total",
                                         "Jobs that were submitted with a marker and that Segmind "
                                         "shows without it.")),
        unknown_words_(metrics.Counter("finetune_gateway_unknown_states_total",
                                       "Words of Segmind's for a job's state that are not known.")),
        list_is_partial_(metrics.Gauge("finetune_gateway_list_partial",
                                       "1 while Segmind's list is known not to show all jobs.")),
        confirm_seconds_(metrics.Histogram("finetune_gateway_webhook_confirm_seconds",
                                           "From a webhook to the view that includes its news.",
                                           kLatencyBuckets)) {}

  void CountPoll(bool changed) { (changed ? polls_changed_ : polls_unchanged_).Increment(); }
  void CountFailedPoll() { polls_failed_.Increment(); }
  void SetObserveTime(absl::Time time) {
    observe_time_.Set(absl::ToDoubleSeconds(time - absl::UnixEpoch()));
  }
  void SetUnsettled(int count) { unsettled_.Set(count); }
  void SetUndecided(size_t count) { undecided_.Set(static_cast<double>(count)); }
  void CountMissingMarker() { markers_missing_.Increment(); }
  void CountUnknownWord() { unknown_words_.Increment(); }
  void SetListIsPartial(bool partial) { list_is_partial_.Set(partial ? 1 : 0); }
  void ObserveConfirm(absl::Duration took) {
    confirm_seconds_.Observe(absl::ToDoubleSeconds(took));
  }

 private:
  static prometheus::Counter& Polls(Metrics& metrics, const char* result) {
    return metrics.Counter("finetune_gateway_polls_total", "Lists read from Segmind.",
                           {{"result", result}});
  }

  prometheus::Counter& polls_changed_;
  prometheus::Counter& polls_unchanged_;
  prometheus::Counter& polls_failed_;
  prometheus::Gauge& observe_time_;
  prometheus::Gauge& unsettled_;
  prometheus::Gauge& undecided_;
  prometheus::Counter& markers_missing_;
  prometheus::Counter& unknown_words_;
  prometheus::Gauge& list_is_partial_;
  prometheus::Histogram& confirm_seconds_;
};

}  // namespace finetune
