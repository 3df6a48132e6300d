#pragma once

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <map>
#include <memory>
#include <string>

namespace finetune {

// The metrics of the process, which /metrics serialises. Thread-safe; outlives all components. Each
// component takes a reference at construction and makes its series then, so that all exist, at 0,
// from the start.
class Metrics {
 public:
  using Labels = std::map<std::string, std::string>;

  Metrics() : registry_(std::make_shared<prometheus::Registry>()) {}

  prometheus::Counter& Counter(const std::string& name, const std::string& help,
                               const Labels& labels = {}) {
    return prometheus::BuildCounter().Name(name).Help(help).Register(*registry_).Add(labels);
  }
  prometheus::Gauge& Gauge(const std::string& name, const std::string& help,
                           const Labels& labels = {}) {
    return prometheus::BuildGauge().Name(name).Help(help).Register(*registry_).Add(labels);
  }
  prometheus::Histogram& Histogram(const std::string& name, const std::string& help,
                                   const prometheus::Histogram::BucketBoundaries& buckets,
                                   const Labels& labels = {}) {
    return prometheus::BuildHistogram()
        .Name(name)
        .Help(help)
        .Register(*registry_)
        .Add(labels, buckets);
  }

  const std::shared_ptr<prometheus::Registry>& registry() const { return registry_; }

 private:
  std::shared_ptr<prometheus::Registry> registry_;
};

// Buckets for the latency of calls, in seconds: from half a millisecond to half a minute.
inline const prometheus::Histogram::BucketBoundaries kLatencyBuckets = {
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30};

}  // namespace finetune
